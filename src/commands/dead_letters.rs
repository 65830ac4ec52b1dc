//! `fleet dead-letters`: a look at messages that are no events, and their end.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, bail};
use uuid::Uuid;

use super::{list as all_of, open, print, told};
use crate::domains::deptrans_driver_status_integration::dead_letters::{Selection, StoredLetter};
use crate::platform::config::{Config, ConfigSource};
use crate::platform::context::Context;
use crate::platform::database::Connection;
use crate::platform::error::Result;
use crate::platform::seal::Seal;

/// How long the database has to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to do, and to which letters.
#[derive(clap::Subcommand)]
pub enum DeadLetterCommand {
    /// Show where they came from and why they are no events, the newest first.
    List {
        /// Which ones.
        #[command(flatten)]
        which: Which,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: u16,
    },
    /// Show what one says. It may hold anything, also what is personal.
    Show {
        /// Its number.
        id: Uuid,
    },
    /// Remove them for good.
    Discard {
        /// Which ones.
        #[command(flatten)]
        which: Which,
        /// All there are.
        #[arg(long)]
        all: bool,
    },
}

/// Which letters are meant.
#[derive(clap::Args)]
pub struct Which {
    /// Their numbers.
    #[arg(value_name = "ID")]
    ids: Vec<Uuid>,
    /// All with this reason, for example `not_json`.
    #[arg(long)]
    reason: Option<String>,
}

impl From<Which> for Selection {
    fn from(which: Which) -> Self {
        Self { ids: which.ids, reason: which.reason }
    }
}

/// Does it, and says what was done.
///
/// # Errors
/// The configuration is not valid, the database refuses, or no letter was named.
pub async fn dead_letters(source: &ConfigSource, command: DeadLetterCommand) -> anyhow::Result<()> {
    let config = source.load()?;
    match command {
        DeadLetterCommand::List { which, limit } => {
            let selection = Selection::from(which);
            let list = async |connection: &mut Connection| {
                selection.list(connection, i64::from(limit)).await
            };
            table(&in_database(&config, list).await?)?;
        }
        DeadLetterCommand::Show { id } => {
            let selection = Selection { ids: vec![id], reason: None };
            let list = async |connection: &mut Connection| selection.list(connection, 1).await;
            let letters = in_database(&config, list).await?;
            let letter = letters.first().context("there is no such letter")?;
            print(readable(&letter.open(&seal(&config)?)?))?;
        }
        DeadLetterCommand::Discard { which, all } => {
            let selection = Selection::from(which);
            if selection.ids.is_empty() && selection.reason.is_none() && !all {
                bail!("name the letters: IDs, --reason or --all");
            }
            let discard = async |connection: &mut Connection| selection.discard(connection).await;
            print(format_args!("{} discarded", in_database(&config, discard).await?))?;
        }
    }
    Ok(())
}

fn seal(config: &Config) -> anyhow::Result<Seal> {
    let settings = config.section("secrets").map_err(|faults| anyhow::anyhow!(all_of(&faults)))?;
    Seal::new(&settings).map_err(|error| told(&error))
}

async fn in_database<T>(
    config: &Config,
    work: impl AsyncFnOnce(&mut Connection) -> Result<T>,
) -> anyhow::Result<T> {
    let database = open(config)?;
    let context = Context::background("fleet dead-letters", PATIENCE);
    database.transaction(&context, work).await.map_err(|error| told(&error))
}

fn table(letters: &[StoredLetter]) -> io::Result<()> {
    print("id\ttopic\tpartition\toffset\tage\treason")?;
    for letter in letters {
        let StoredLetter { id, topic, partition, offset, age, reason, .. } = letter;
        print(format_args!("{id}\t{topic}\t{partition}\t{offset}\t{age:.0}s\t{reason}"))?;
    }
    Ok(())
}

/// The text without what would move the cursor of a terminal about.
fn readable(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let plain = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(plain).collect()
}
