//! Labels of the engine's metrics.

use sed_telemetry::{Label, label};

use crate::{
    requests::job::Priority,
    stages::{
        Level,
        stage::{Stage, Unit},
    },
};

label! {
    /// The reason why a request was dropped before its result.
    pub AbandonCause: "cause" {
        Cancelled = "cancelled",
        Deadline = "deadline",
    }
}

label! {
    /// Why a batch was launched when it was.
    pub FlushReason: "reason" {
        Full = "full",
        Delay = "delay",
        Idle = "idle",
    }
}

label! {
    /// Why a batch was run again.
    pub RetryCause: "cause" {
        OutOfMemory = "out_of_memory",
        Bisect = "bisect",
    }
}

label! {
    /// The outcome of a submission.
    pub SubmissionOutcome: "outcome" {
        Answered = "answered",
        OutOfMemory = "out_of_memory",
        Failed = "failed",
    }
}

label! {
    /// The outcome of early rejection for a category.
    pub CategoryOutcome: "outcome" {
        Survived = "survived",
        Rejected = "rejected",
    }
}

label! {
    /// The ways in which work on the device fails.
    pub DeviceErrorKind: "kind" {
        OutOfMemory = "out_of_memory",
        Lost = "lost",
        NotFinite = "not_finite",
        Failed = "failed",
        Panic = "panic",
    }
}

/// The stages of a request, those on the CPU included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestStage {
    /// `image_decode`
    ImageDecode,
    /// One of the stages on the device.
    Device(Stage),
    /// `mask_encoding`
    MaskEncoding,
}

impl Label for RequestStage {
    const KEY: &'static str = "stage";
    const ALL: &'static [Self] = &{
        let mut all = [Self::ImageDecode; Stage::COUNT + 2];
        let mut index = 0;
        while index < Stage::COUNT {
            all[index + 1] = Self::Device(Stage::ALL[index]);
            index += 1;
        }
        all[Stage::COUNT + 1] = Self::MaskEncoding;
        all
    };

    fn as_str(self) -> &'static str {
        match self {
            Self::ImageDecode => "image_decode",
            Self::Device(stage) => stage.name(),
            Self::MaskEncoding => "mask_encoding",
        }
    }
}

impl From<Stage> for RequestStage {
    fn from(stage: Stage) -> Self {
        Self::Device(stage)
    }
}

impl Label for Stage {
    const KEY: &'static str = "stage";
    const ALL: &'static [Self] = &Self::ALL;

    fn as_str(self) -> &'static str {
        self.name()
    }
}

/// A decoder level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecoderLevel(pub Level);

impl Label for DecoderLevel {
    const KEY: &'static str = "level";
    const ALL: &'static [Self] = &[Self(Level::One), Self(Level::Two), Self(Level::Three)];

    fn as_str(self) -> &'static str {
        match self.0 {
            Level::One => "1",
            Level::Two => "2",
            Level::Three => "3",
        }
    }
}

impl Label for Priority {
    const KEY: &'static str = "priority";
    const ALL: &'static [Self] = &[Self::High, Self::Normal, Self::Low];

    fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

impl Label for Unit {
    const KEY: &'static str = "unit";
    const ALL: &'static [Self] = &[Self::Images, Self::Pairs];

    fn as_str(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Pairs => "pairs",
        }
    }
}
