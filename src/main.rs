//! The command line.

// A closed pipe makes `println!` panic; commands print by `commands::print`.
#![warn(clippy::print_stdout)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fleet::app::App;
use fleet::commands;
use fleet::platform::config::ConfigSource;
use fleet::platform::telemetry::logs;
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The back office of taxi parks and scooter fleets.
#[derive(Parser)]
#[command(name = "fleet", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// A TOML file laid over the defaults; may be repeated, later ones win. Environment variables
    /// (FLEET__SECTION__KEY) win over all files.
    #[arg(long = "config", value_name = "FILE", global = true)]
    config: Vec<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the enabled domains until SIGTERM or SIGINT.
    Serve,
    /// Bring the schemas of the enabled domains up to date.
    #[cfg(feature = "database")]
    Migrate,
    /// Look at background tasks; run dead ones again, or discard them.
    #[cfg(feature = "tasks")]
    #[command(subcommand)]
    Tasks(commands::TaskCommand),
    /// Look at messages from Kafka that could not be read; discard them.
    #[cfg(feature = "deptrans-driver-status-integration")]
    #[command(subcommand)]
    DeadLetters(commands::DeadLetterCommand),
    /// Tell everything that is wrong with the configuration; exit 1 if anything is.
    CheckConfig,
    /// Print the OpenAPI 3.1 document of the compiled domains.
    Openapi,
    /// Try the configuration and every dependency, and say what to do; exit 1 on trouble.
    Doctor,
    /// Ask the running server of this configuration whether it answers; exit 1 if it does not.
    Probe {
        /// Whether it takes requests (/readyz), not only whether it lives (/livez).
        #[arg(long)]
        ready: bool,
    },
    /// Serve stand-ins for the private services outside.
    #[cfg(feature = "sandbox")]
    Sandbox(fleet::sandbox::SandboxOptions),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("fleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let source = ConfigSource::files_and_environment(arguments.config);
    match arguments.command {
        Command::Serve => serve(source)?,
        #[cfg(feature = "database")]
        Command::Migrate => {
            let runtime = tokio::runtime::Runtime::new()?;
            runtime.block_on(commands::migrate(&source))?;
        }
        #[cfg(feature = "tasks")]
        Command::Tasks(command) => {
            let runtime = tokio::runtime::Runtime::new()?;
            runtime.block_on(commands::tasks(&source, command))?;
        }
        #[cfg(feature = "deptrans-driver-status-integration")]
        Command::DeadLetters(command) => {
            let runtime = tokio::runtime::Runtime::new()?;
            runtime.block_on(commands::dead_letters(&source, command))?;
        }
        Command::CheckConfig => return check_config(&source),
        Command::Openapi => commands::print(commands::openapi()?)?,
        Command::Doctor => return doctor(&source),
        Command::Probe { ready } => {
            commands::probe(&source, if ready { "/readyz" } else { "/livez" })?;
        }
        #[cfg(feature = "sandbox")]
        Command::Sandbox(options) => {
            let core = fleet::platform::config::CoreSettings::defaults()?;
            logs::install(&core.telemetry).map_err(anyhow::Error::from_boxed)?;
            actix_web::rt::System::new().block_on(fleet::sandbox::run(options))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(source: ConfigSource) -> anyhow::Result<()> {
    let app = App::build(source)?;
    logs::install(app.telemetry()).map_err(anyhow::Error::from_boxed)?;
    actix_web::rt::System::new().block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        app.run(stop).await
    })
}

fn check_config(source: &ConfigSource) -> anyhow::Result<ExitCode> {
    let faults = commands::check_config(source)?;
    for fault in &faults {
        eprintln!("{fault}");
    }
    if faults.is_empty() {
        commands::print("the configuration is valid")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn doctor(source: &ConfigSource) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    let local = tokio::task::LocalSet::new();
    let findings = local.block_on(&runtime, commands::doctor(source))?;
    let mut code = ExitCode::SUCCESS;
    for finding in findings {
        match finding.trouble {
            None => commands::print(format_args!("ok       {}", finding.subject))?,
            Some(trouble) => {
                commands::print(format_args!("TROUBLE  {}: {trouble}", finding.subject))?;
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
