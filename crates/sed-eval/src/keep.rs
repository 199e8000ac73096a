//! Files that a measurement leaves behind, and from which it goes on.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use sed_client::report::Model;

use crate::{
    ask::{Answer, Asker, Failure},
    case::{Case, Compared, Picture},
    error::Result,
    plan::Plan,
    predictions::Predictions,
    run::Run,
    saved::{Record, Saved},
    score::Score,
};

/// The files of a measurement of labelled pictures.
#[derive(Clone, Debug)]
pub struct Keep {
    /// The folder of pictures, below which they have their names.
    pub pictures: PathBuf,
    /// The folder of their labels.
    pub labels: PathBuf,
    /// The file of counts to begin, or to go on from.
    pub counts: Option<PathBuf>,
    /// The folder for the mask of each picture.
    pub predictions: Option<PathBuf>,
}

/// The open files of a measurement.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    /// The folder of pictures; empty without files.
    root: PathBuf,
    run: Option<Run>,
    saved: Option<Saved>,
    predictions: Option<Predictions>,
    /// The pictures that need no request.
    done: HashMap<String, Record>,
}

/// A picture whose pixels are counted.
#[derive(Debug)]
pub(crate) struct Counted {
    /// The picture's file.
    pub(crate) picture: String,
    pub(crate) record: Record,
    pub(crate) source: Source,
}

/// The origin of a picture's counts.
#[derive(Debug)]
pub(crate) enum Source {
    /// The file of counts.
    Saved,
    /// An answer: the model, and the names of the categories.
    Answer { model: Model, categories: Vec<String> },
}

impl Keeper {
    /// Opens the files, as far as there are to be any.
    ///
    /// # Errors
    /// A file cannot be used, it is of another run, or the server's facts cannot be asked for.
    pub(crate) async fn open(keep: Option<&Keep>, asker: &Asker, plan: &Plan) -> Result<Self> {
        let (Some(keep), Some(first)) = (keep, plan.cases.first()) else { return Ok(Self::default()) };
        let folders = [&keep.pictures, &keep.labels].map(PathBuf::as_path);
        let run = Run::of(asker, &first.vocabulary, first.meaning.first_label(), folders).await?;
        let mut keeper = Self { root: keep.pictures.clone(), ..Self::default() };
        if let Some(folder) = &keep.predictions {
            let names: Vec<String> = plan.cases.iter().map(|case| keeper.name(&case.picture)).collect();
            keeper.predictions = Some(Predictions::open(folder, &run, &names)?);
        }
        if let Some(file) = &keep.counts {
            let (saved, done) = Saved::open(file, &run)?;
            (keeper.saved, keeper.done) = (Some(saved), done);
        }
        if let Some(predictions) = &keeper.predictions {
            // Without its mask a picture is not done.
            keeper.done.retain(|name, _| predictions.has(name));
        }
        keeper.run = Some(run);
        Ok(keeper)
    }

    /// The names of the vocabulary's categories, as far as they are known without an answer.
    pub(crate) fn categories(&self) -> Vec<String> {
        self.run.as_ref().map(|run| run.categories.clone()).unwrap_or_default()
    }

    /// The model, if it is known without an answer.
    pub(crate) fn model(&self) -> Option<Model> {
        self.run.as_ref().map(|run| run.model.clone())
    }

    /// The number of masks that were there before and are written again.
    pub(crate) fn replaced(&self) -> u64 {
        self.predictions.as_ref().map_or(0, Predictions::replaced)
    }

    /// The name of a picture below the folder of pictures, with `/` between its folders.
    fn name(&self, picture: &Path) -> String {
        let below = picture.strip_prefix(&self.root).ok().filter(|path| !path.as_os_str().is_empty());
        let below = below.unwrap_or_else(|| picture.file_name().unwrap_or_default().as_ref());
        let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
        parts.join("/")
    }

    /// Counts the pixels of a picture, from the file of counts or by a request, and adds the new ones to the
    /// files.
    pub(crate) async fn count(self: Arc<Self>, asker: Asker, case: Case) -> Result<Counted, Failure> {
        let picture = case.picture.display().to_string();
        let name = if self.run.is_some() { self.name(&case.picture) } else { picture.clone() };
        if let Some(record) = self.done.get(&name) {
            return Ok(Counted { picture, record: record.clone(), source: Source::Saved });
        }
        let Picture { bytes, turned } = case.picture(asker.exif).await.map_err(Failure::OfCase)?;
        let answer = asker.ask(bytes, case.vocabulary.clone(), None).await?;
        let kept = tokio::task::spawn_blocking(move || self.keep(name, turned, &case, answer));
        let (record, source) = kept.await.map_err(|broken| Failure::OfAll(broken.into()))??;
        Ok(Counted { picture, record, source })
    }

    fn keep(
        &self,
        name: String,
        turned: bool,
        case: &Case,
        answer: Answer,
    ) -> Result<(Record, Source), Failure> {
        let Answer { map, report, .. } = answer;
        let words = report.categories.len();
        let png = self.predictions.as_ref().map(|_| Predictions::encode(&map, words));
        let png = png.transpose().map_err(Failure::OfAll)?;
        let label_values = case.counts_of_label().map_err(Failure::OfCase)?;
        let Compared { answer, label } = case.compare(map, words).map_err(Failure::OfCase)?;
        let mut score = Score::default();
        score.add(&answer, &label);
        let mut record = Record::new(name, &score);
        (record.label_values, record.turned) = (label_values, turned);
        record.survivors = report.rejection.levels.iter().map(|level| level.survivors.len()).collect();
        record.latency_ms = report.latency.total_ms;
        // The mask first: a picture with counts has one.
        if let (Some(predictions), Some(png)) = (&self.predictions, &png) {
            predictions.write(&record.picture, png).map_err(Failure::OfAll)?;
        }
        if let Some(saved) = &self.saved {
            saved.add(&record).map_err(Failure::OfAll)?;
        }
        let categories = report.categories.into_iter().map(|category| category.name).collect();
        Ok((record, Source::Answer { model: report.model, categories }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_have_their_names_below_their_folder_and_never_lead_out_of_it() {
        let of = |root: &str, picture: &str| {
            Keeper { root: root.into(), ..Keeper::default() }.name(Path::new(picture))
        };
        assert_eq!(of("/data/images", "/data/images/a/b.jpg"), "a/b.jpg");
        assert_eq!(of("images/", "images/b.jpg"), "b.jpg");
        assert_eq!(of("b.jpg", "b.jpg"), "b.jpg");
        assert_eq!(of("/data/images", "/elsewhere/b.jpg"), "b.jpg");
    }
}
