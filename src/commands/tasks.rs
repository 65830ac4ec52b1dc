//! `fleet tasks`: a look at the task queue, and what an operator does to tasks that are dead or nobody's.

use std::io;
use std::time::Duration;

use anyhow::bail;

use super::{open, print, told};
use crate::platform::config::ConfigSource;
use crate::platform::context::Context;
use crate::platform::database::Connection;
use crate::platform::error::Result;
use crate::platform::tasks::{Selection, StoredKind, StoredSchedule, StoredTask};

/// How long the database has to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to do, and to which tasks.
#[derive(clap::Subcommand)]
pub enum TaskCommand {
    /// Show tasks, the newest first.
    List {
        /// Which ones.
        #[command(flatten)]
        which: Which,
        /// Only those in this state: scheduled, ready, running or dead.
        #[arg(long, value_parser = ["scheduled", "ready", "running", "dead"])]
        state: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: u16,
    },
    /// Run dead tasks again, with all their attempts.
    Retry {
        /// Which ones.
        #[command(flatten)]
        which: Which,
    },
    /// Remove dead tasks for good, or those that wait for a handler that is no more.
    Discard {
        /// Which ones.
        #[command(flatten)]
        which: Which,
        /// Those in this state: dead, ready or scheduled.
        #[arg(long, value_parser = [DEAD, "ready", "scheduled"], default_value = DEAD)]
        state: String,
    },
    /// Show how many there are of each kind, and how long the first of them waits.
    Kinds,
    /// Show what is due again and again.
    Schedules,
    /// Remove schedules that no running process has, for good.
    DiscardSchedules {
        /// Their names.
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
}

/// The state of tasks that were given up.
const DEAD: &str = "dead";

/// Which tasks are meant.
#[derive(clap::Args)]
pub struct Which {
    /// Their numbers.
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    /// All of this queue.
    #[arg(long)]
    queue: Option<String>,
    /// All of this kind.
    #[arg(long)]
    kind: Option<String>,
    /// All there are.
    #[arg(long)]
    all: bool,
}

impl Which {
    /// What changes something says what it means.
    fn for_a_change(self) -> anyhow::Result<Selection> {
        let all = self.all;
        let selection = self.for_a_look();
        let narrow =
            !selection.ids.is_empty() || selection.queue.is_some() || selection.kind.is_some();
        if !narrow && !all {
            bail!("name the tasks: IDs, --queue, --kind or --all");
        }
        Ok(selection)
    }

    /// What is not dead may be somebody's work: all of it at once is never meant.
    fn for_discarding(self, state: String) -> anyhow::Result<Selection> {
        if state != DEAD && self.all {
            bail!("name the tasks that are {state}: IDs, --queue or --kind, not --all");
        }
        Ok(Selection { state: Some(state), ..self.for_a_change()? })
    }

    fn for_a_look(self) -> Selection {
        Selection { ids: self.ids, state: None, queue: self.queue, kind: self.kind }
    }
}

/// Does it, and says what was done.
///
/// # Errors
/// The configuration is not valid, the database refuses, or no task was named.
pub async fn tasks(source: &ConfigSource, command: TaskCommand) -> anyhow::Result<()> {
    match command {
        TaskCommand::List { which, state, limit } => {
            let selection = Selection { state, ..which.for_a_look() };
            let listed = async |connection: &mut Connection| {
                selection.list(connection, i64::from(limit)).await
            };
            table(&in_database(source, listed).await?)?;
        }
        TaskCommand::Retry { which } => {
            let selection = which.for_a_change()?;
            let retry = async |connection: &mut Connection| selection.retry(connection).await;
            print(format_args!("{} ready again", in_database(source, retry).await?))?;
        }
        TaskCommand::Discard { which, state } => {
            let selection = which.for_discarding(state)?;
            let discard = async |connection: &mut Connection| selection.discard(connection).await;
            print(format_args!("{} discarded", in_database(source, discard).await?))?;
        }
        TaskCommand::Kinds => {
            let all = async |connection: &mut Connection| StoredKind::all(connection).await;
            kinds(&in_database(source, all).await?)?;
        }
        TaskCommand::Schedules => {
            let all = async |connection: &mut Connection| StoredSchedule::all(connection).await;
            schedules(&in_database(source, all).await?)?;
        }
        TaskCommand::DiscardSchedules { names } => {
            let discard = async |connection: &mut Connection| {
                StoredSchedule::discard(connection, &names).await
            };
            let discarded = in_database(source, discard).await?;
            print(format_args!("{discarded} discarded"))?;
            if discarded < names.len() {
                bail!("the others are not there, or not abandoned; see `fleet tasks schedules`");
            }
        }
    }
    Ok(())
}

async fn in_database<T>(
    source: &ConfigSource,
    work: impl AsyncFnOnce(&mut Connection) -> Result<T>,
) -> anyhow::Result<T> {
    let database = open(&source.load()?)?;
    let context = Context::background("fleet tasks", PATIENCE);
    database.transaction(&context, work).await.map_err(|error| told(&error))
}

fn table(tasks: &[StoredTask]) -> io::Result<()> {
    print("id\tstate\tqueue\tkind\tpark\tkey\tattempt\tage\terror")?;
    for task in tasks {
        let code = task.error_code.as_deref().unwrap_or_default();
        let text = task.error.as_deref().unwrap_or_default();
        let StoredTask { id, state, queue, kind, attempt, max_attempts, age, .. } = task;
        let (park, key) = (&task.park_id, task.unique_key.as_deref().unwrap_or_default());
        let error = format!("{code} {text}");
        let error = error.trim();
        print(format_args!(
            "{id}\t{state}\t{queue}\t{kind}\t{park}\t{key}\t{attempt}/{max_attempts}\t{age:.0}s\t{error}"
        ))?;
    }
    Ok(())
}

fn kinds(kinds: &[StoredKind]) -> io::Result<()> {
    print("queue\tkind\tready\tscheduled\trunning\tdead\twaits")?;
    for StoredKind { queue, kind, ready, scheduled, running, dead, waits } in kinds {
        let waits = waits.map(|waits| format!("{waits:.0}s")).unwrap_or_default();
        print(format_args!("{queue}\t{kind}\t{ready}\t{scheduled}\t{running}\t{dead}\t{waits}"))?;
    }
    Ok(())
}

fn schedules(schedules: &[StoredSchedule]) -> io::Result<()> {
    print("name\tevery\tdue in\tstate")?;
    for StoredSchedule { name, every, due_in, is_abandoned } in schedules {
        let state = if *is_abandoned { "abandoned" } else { "" };
        print(format_args!("{name}\t{every:.0}s\t{due_in:.0}s\t{state}"))?;
    }
    Ok(())
}
