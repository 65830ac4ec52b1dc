//! Customers by key.

use diesel::QueryResult;
use diesel::sql_types::{Array, Binary};
use diesel_async::RunQueryDsl;

use super::Key;
use super::row::{CustomerColumns, CustomerRow, columns};
use crate::platform::database::{BatchedStatement, Connection, PackedId, prepared_statement};
use crate::platform::error::Result;

prepared_statement! {
    /// Customers by key; an input without a customer has no row.
    struct ReadStatement<'a> returns CustomerColumns;
    concat!("SELECT k.ordinal, ", columns!("k.park_id"), " FROM UNNEST("),
    parks: Vec<&'a PackedId> => Array<Binary>, ", ",
    phones: Vec<&'a PackedId> => Array<Binary>,
    ") WITH ORDINALITY AS k(park_id, personal_phone_id, ordinal) \
     JOIN fleet_customers.parks p ON p.park_id = k.park_id \
     JOIN fleet_customers.customers c \
     ON c.personal_phone_id = k.personal_phone_id AND c.park_no = p.park_no",
}

/// Reads one customer; many calls share one statement.
pub struct ReadCustomer;

impl BatchedStatement for ReadCustomer {
    type Input = Key;
    type Output = Option<CustomerRow>;
    type Key = ();

    const NAME: &'static str = "read_customer";
    const LANE: &'static str = "read";
    const MAX: usize = 256;
    const REPEATABLE: bool = true;

    fn key(_: &Self::Input) -> Option<()> {
        None
    }

    async fn run(
        connection: &Connection,
        inputs: &[Self::Input],
    ) -> QueryResult<Vec<Self::Output>> {
        read(connection, inputs).await
    }
}

/// Reads customers by (park, phone id); one output for each input.
async fn read(mut connection: &Connection, keys: &[Key]) -> QueryResult<Vec<Option<CustomerRow>>> {
    let statement = ReadStatement {
        parks: keys.iter().map(|(park, _)| park).collect(),
        phones: keys.iter().map(|(_, phone)| phone).collect(),
    };
    let rows: Vec<CustomerRow> = statement.load(&mut connection).await?;
    let mut found: Vec<Option<CustomerRow>> = keys.iter().map(|_| None).collect();
    for row in rows {
        let place = usize::try_from(row.ordinal - 1).ok().and_then(|index| found.get_mut(index));
        if let Some(place) = place {
            *place = Some(row);
        }
    }
    Ok(found)
}

/// Reads up to 500 customers in one statement, in the order of `keys`; those missing are left out.
pub async fn read_many(connection: &Connection, keys: &[Key]) -> Result<Vec<CustomerRow>> {
    Ok(read(connection, keys).await?.into_iter().flatten().collect())
}
