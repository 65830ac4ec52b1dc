//! Constant statements that PostgreSQL parses and plans once a connection.
//!
//! Diesel prepares anew, on every call, what it cannot prove to be constant: `sql_query`,
//! `ON CONFLICT`, UPDATE. For a hot statement that costs more than running it.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::Untyped;

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

/// What [`diesel::sql_query`] begins, of constant text: PostgreSQL parses and plans it once a connection.
pub trait Prepare: Sized {
    /// To be called last, and only where the text is constant: a connection keeps each text that it
    /// has seen.
    fn prepared(self) -> Prepared<Self>;
}

impl<Q: Query<SqlType = Untyped>> Prepare for Q {
    fn prepared(self) -> Prepared<Self> {
        Prepared(self)
    }
}

/// A statement that is found by its text among those that the connection has prepared.
#[derive(Debug)]
#[must_use = "it runs when it is executed or loaded"]
pub struct Prepared<Q>(Q);

impl<Q> QueryId for Prepared<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q> Query for Prepared<Q> {
    type SqlType = Untyped;
}

impl<Conn, Q> diesel::RunQueryDsl<Conn> for Prepared<Q> {}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Prepared<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    /// Diesel assumes of all written text that it changes from call to call.
    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}
