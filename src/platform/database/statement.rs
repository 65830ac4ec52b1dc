//! Constant statements that PostgreSQL parses and plans once a connection.
//!
//! Diesel prepares anew, on every call, what it cannot prove to be constant: `sql_query`,
//! `ON CONFLICT`, UPDATE. For a hot statement that costs more than running it.

/// Declares a statement whose text is constant: a text, then each parameter with the text behind
/// it. The named type can be loaded through `RunQueryDsl` and is cached by its type.
#[allow(unused_macros, reason = "not every set of features has a hot statement")]
macro_rules! prepared_statement {
    (
        $(#[$doc:meta])*
        $visibility:vis struct $name:ident<$life:lifetime> returns $row:ty;
        $head:expr,
        $($field:ident: $type:ty => $sql_type:ty, $after:expr),+ $(,)?
    ) => {
        $(#[$doc])*
        $visibility struct $name<$life> {
            $($visibility $field: $type,)+
        }

        impl diesel::query_builder::QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl diesel::query_builder::Query for $name<'_> {
            type SqlType = $row;
        }

        impl<Conn> diesel::RunQueryDsl<Conn> for $name<'_> {}

        impl diesel::query_builder::QueryFragment<diesel::pg::Pg> for $name<'_> {
            fn walk_ast<'b>(
                &'b self,
                mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                out.push_sql($head);
                $(
                    out.push_bind_param::<$sql_type, _>(&self.$field)?;
                    out.push_sql($after);
                )+
                Ok(())
            }
        }
    };
}

#[allow(unused_imports, reason = "as above")]
pub(crate) use prepared_statement;
