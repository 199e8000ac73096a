//! `segment`: segments pictures by a server, or by a private one for the duration of the command.

mod args;
mod one;
mod output;
mod work;

use std::process::ExitCode;

use anyhow::{Result, bail};
use sed_client::Retries;

pub(crate) use self::args::SegmentArgs;
use self::{
    one::Asker,
    output::Output,
    work::{Recipe, Run},
};
use crate::{
    pictures::Walk,
    print, progress,
    signals::{self, Signals},
};

pub(crate) fn run(args: &SegmentArgs, as_json: bool) -> Result<ExitCode> {
    let mut vocabulary = args.words.vocabulary()?;
    let usual_contrast = args.competition.apply_to_few(&mut vocabulary);
    let formats = args.output.formats()?;
    let folder = (!args.output.no_output).then_some(args.output.output.as_path());
    let output = folder.map(|folder| Output::create(folder, &formats, as_json, args.output.skip_existing));
    let output = output.transpose()?;
    let walk = || Walk::over(&args.pictures, args.recursive, folder);
    let (pictures, left_out) = walk()?.survey()?;
    left_out.lines().iter().for_each(|line| print::note(line));
    if pictures == 0 {
        bail!("there is no picture to segment; see --recursive, and the formats in `segment --help`");
    }
    let walk = walk()?;
    args.target.with_client(async |client| {
        let stop = signals::stopping(Signals::new()?);
        // Several requests at the same time may be more than the server's queue holds; one alone shows its refusal.
        let retries = if pictures > 1 { Retries::default() } else { Retries::OFF };
        let waits = (retries, args.target.ready_timeout());
        let asker = Asker::new(client, vocabulary, args.options(&formats), waits);
        let folder = output.as_ref().map(|output| output.folder.clone());
        let expected = output.as_ref().map(Output::expected).unwrap_or_default();
        let recipe = Recipe { asker, folder, expected, usual_contrast, bar: progress::pictures(pictures) };
        Run::new(recipe, output, pictures, as_json).over(walk, args.jobs.into(), stop).await
    })
}
