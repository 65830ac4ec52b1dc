//! Somebody with a token, and another park's ids: every operation of the API, by the server's own
//! document. What he is answered is what he would be answered of ids that nobody has, and nothing of
//! the other park changes.

mod cursors;
mod ids;
mod rows;
mod schema;
mod secrecy;
mod table;
mod walk;

use self::ids::Ids;
use self::rows::rows_of;
use self::table::{ROWS, Request, Row, Whose};
