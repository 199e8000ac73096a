//! `doctor`: checks for faults that would keep the server from working, with advice.

mod access;
mod check;
mod descriptors;
mod machine;
mod model;
mod settings;
mod words;
mod worst;

use std::{io::Write, process::ExitCode};

use anyhow::Result;
use clap::{Args, Command};
use serde_json::json;

use crate::{
    args::{ModelArgs, ServerArgs},
    print::{self, BAD, BOLD, Cell, GOOD, Table, WARNING, styled},
};
use check::{Check, Verdict};

const EXAMPLES: &str = "\
Examples:
  sed-serve doctor
  sed-serve doctor --model models/sed-b.safetensors --config sed.toml
  sed-serve doctor --json | jq '.checks[] | select(.verdict != \"good\")'

It takes the flags of `serve`. \"words\" is the time that the text embeddings of each built-in vocabulary \
would take here, predicted from a few phrases; `sed-serve vocabulary prepare` pays for it beforehand. The \
exit code is 1 if something is wrong; warnings do not count.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    server: ServerArgs,

    /// Neither load the model nor read all of its file.
    #[arg(long, help_heading = None)]
    quick: bool,
}

/// Examines. `command` is the whole command line, whose flags know their variables.
pub(crate) fn run(args: &DoctorArgs, as_json: bool, command: &Command) -> Result<ExitCode> {
    let (memory, memory_check) = machine::memory();
    let mut checks = vec![Check::good("version", format!("sed-serve {}", env!("CARGO_PKG_VERSION")))];
    checks.extend(machine::checks(&args.model));
    checks.push(memory_check);
    let (model_checks, model) = model::checks(&args.model, &memory, args.quick);
    checks.extend(model_checks);
    checks.extend(settings::checks(&args.server, model, &memory, command));
    checks.extend(descriptors::check(&args.server));

    let wrong = checks.iter().filter(|check| check.verdict == Verdict::Wrong).count();
    if as_json {
        print::json_line(&json!({ "healthy": wrong == 0, "checks": checks }))?;
    } else {
        show(&checks, wrong)?;
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(checks: &[Check], wrong: usize) -> Result<()> {
    let out = &mut print::stdout();
    let mut table = Table::default();
    for check in checks {
        let mark = match check.verdict {
            Verdict::Good => Cell::left("✓").styled(GOOD),
            Verdict::Warning => Cell::left("!").styled(WARNING),
            Verdict::Wrong => Cell::left("✗").styled(BAD),
        };
        let mut lines = check.found.lines();
        let first = lines.next().unwrap_or_default();
        table.row([mark, Cell::left(check.name).styled(BOLD), Cell::whole(first)]);
        for line in lines {
            table.row([Cell::left(""), Cell::left(""), Cell::whole(line)]);
        }
        if let Some(advice) = &check.advice {
            let advice = Cell::whole(format!("→ {advice}")).styled(WARNING);
            table.row([Cell::left(""), Cell::left(""), advice]);
        }
    }
    table.write("", out)?;
    print::gap(out)?;
    let warnings = checks.iter().filter(|check| check.verdict == Verdict::Warning).count();
    let verdict = match (wrong, warnings) {
        (0, 0) => styled(GOOD, "nothing is wrong"),
        (0, _) => styled(WARNING, "nothing is wrong; see the warnings above"),
        (1, _) => styled(BAD, "one thing is wrong; see above how to mend it"),
        _ => styled(BAD, "some things are wrong; see above how to mend them"),
    };
    Ok(writeln!(out, "{verdict}")?)
}
