//! The labels of the metrics, each with all values that it can have.

use crate::{Priority, Stage, budget::Unit, stages::Level};

/// One label: a key and its values.
pub trait Label: Copy + 'static {
    /// The key.
    const KEY: &'static str;
    /// All values.
    const ALL: &'static [Self];

    /// The value as it is shown.
    fn as_str(self) -> &'static str;
}

/// The labels of one metric: none, one, or two.
pub trait Labels: Copy + 'static {
    /// All combinations of values.
    fn combinations() -> Vec<Self>;

    /// The keys, each with all its values.
    fn keys() -> Vec<(&'static str, Vec<&'static str>)>;

    /// Keys and values of this combination.
    fn pairs(self) -> Vec<(&'static str, &'static str)>;
}

impl Labels for () {
    fn combinations() -> Vec<Self> {
        vec![()]
    }

    fn keys() -> Vec<(&'static str, Vec<&'static str>)> {
        Vec::new()
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }
}

impl<A: Label> Labels for A {
    fn combinations() -> Vec<Self> {
        A::ALL.to_vec()
    }

    fn keys() -> Vec<(&'static str, Vec<&'static str>)> {
        vec![(A::KEY, A::ALL.iter().map(|value| value.as_str()).collect())]
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        vec![(A::KEY, self.as_str())]
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    fn combinations() -> Vec<Self> {
        A::ALL.iter().flat_map(|&first| B::ALL.iter().map(move |&second| (first, second))).collect()
    }

    fn keys() -> Vec<(&'static str, Vec<&'static str>)> {
        [A::keys(), B::keys()].concat()
    }

    fn pairs(self) -> Vec<(&'static str, &'static str)> {
        vec![(A::KEY, self.0.as_str()), (B::KEY, self.1.as_str())]
    }
}

/// One list gives the values, their text, and the list of all.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident: $key:literal { $($value:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $value,)*
        }

        impl Label for $name {
            const KEY: &'static str = $key;
            const ALL: &'static [Self] = &[$(Self::$value),*];

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)*
                }
            }
        }
    };
}

label! {
    /// The methods of `sed.v1.SegmentationService`, and the one of `inference.GRPCInferenceService` that does
    /// work.
    Method: "method" {
        Segment = "Segment",
        SegmentStream = "SegmentStream",
        CreateVocabulary = "CreateVocabulary",
        GetVocabulary = "GetVocabulary",
        ListVocabularies = "ListVocabularies",
        DeleteVocabulary = "DeleteVocabulary",
        GetServerInfo = "GetServerInfo",
        ModelInfer = "ModelInfer",
    }
}

label! {
    /// The status codes of gRPC, in the order of their numbers.
    Code: "code" {
        Ok = "OK",
        Cancelled = "CANCELLED",
        Unknown = "UNKNOWN",
        InvalidArgument = "INVALID_ARGUMENT",
        DeadlineExceeded = "DEADLINE_EXCEEDED",
        NotFound = "NOT_FOUND",
        AlreadyExists = "ALREADY_EXISTS",
        PermissionDenied = "PERMISSION_DENIED",
        ResourceExhausted = "RESOURCE_EXHAUSTED",
        FailedPrecondition = "FAILED_PRECONDITION",
        Aborted = "ABORTED",
        OutOfRange = "OUT_OF_RANGE",
        Unimplemented = "UNIMPLEMENTED",
        Internal = "INTERNAL",
        Unavailable = "UNAVAILABLE",
        DataLoss = "DATA_LOSS",
        Unauthenticated = "UNAUTHENTICATED",
    }
}

label! {
    /// Why a request was refused before the device worked on it.
    RejectReason: "reason" {
        Invalid = "invalid",
        ImageCorrupt = "image_corrupt",
        ImageTooLarge = "image_too_large",
        ImageUnsupported = "image_unsupported",
        ImageNotFound = "image_not_found",
        VocabularyTooLarge = "vocabulary_too_large",
        VocabularyNotFound = "vocabulary_not_found",
        TooManyVocabularies = "too_many_vocabularies",
        OutputTooLarge = "output_too_large",
        MessageTooLarge = "message_too_large",
        QueueFull = "queue_full",
        DeadlineTooShort = "deadline_too_short",
        DeadlineUnreachable = "deadline_unreachable",
        ModelNotReady = "model_not_ready",
        DeviceLost = "device_lost",
        ShuttingDown = "shutting_down",
        TokenMissing = "token_missing",
        TokenInvalid = "token_invalid",
        MemoryExhausted = "memory_exhausted",
        UploadTooSlow = "upload_too_slow",
        Reconnect = "reconnect",
    }
}

label! {
    /// The way that the bytes of a transfer go.
    TransferDirection: "direction" {
        Upload = "upload",
        Answer = "answer",
    }
}

label! {
    /// Why a transfer was ended: it made too little progress, or was the slowest when memory or places ran
    /// out.
    TransferEnd: "cause" {
        Stalled = "stalled",
        Crowded = "crowded",
    }
}

label! {
    /// The reason why a TLS handshake failed.
    HandshakeFailure: "reason" {
        Timeout = "timeout",
        Closed = "closed",
        Plaintext = "plaintext",
        CertificateMissing = "certificate_missing",
        CertificateExpired = "certificate_expired",
        CertificateInvalid = "certificate_invalid",
        Refused = "refused",
        Protocol = "protocol",
    }
}

label! {
    /// The outcome of a call; `failed` are all whose code is not OK.
    CallOutcome: "outcome" {
        Answered = "answered",
        Failed = "failed",
    }
}

label! {
    /// The outcome of reloading files that have changed.
    ReloadOutcome: "outcome" {
        Loaded = "loaded",
        Failed = "failed",
    }
}

label! {
    /// The reason why a request was dropped before its result.
    AbandonCause: "cause" {
        Cancelled = "cancelled",
        Deadline = "deadline",
    }
}

label! {
    /// Why a batch was launched when it was.
    FlushReason: "reason" {
        Full = "full",
        Delay = "delay",
        Idle = "idle",
    }
}

label! {
    /// Why a batch was run again.
    RetryCause: "cause" {
        OutOfMemory = "out_of_memory",
        Bisect = "bisect",
    }
}

label! {
    /// The outcome of early rejection for a category.
    Outcome: "outcome" {
        Survived = "survived",
        Rejected = "rejected",
    }
}

label! {
    /// The ways in which work on the device fails.
    DeviceErrorKind: "kind" {
        OutOfMemory = "out_of_memory",
        Lost = "lost",
        NotFinite = "not_finite",
        Failed = "failed",
        Panic = "panic",
    }
}

impl Code {
    /// The code of this number; unknown numbers are [`Code::Unknown`].
    pub fn from_number(number: i32) -> Self {
        usize::try_from(number).ok().and_then(|index| Self::ALL.get(index)).copied().unwrap_or(Self::Unknown)
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

impl Label for Level {
    const KEY: &'static str = "level";
    const ALL: &'static [Self] = &Self::ALL;

    fn as_str(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Two => "2",
            Self::Three => "3",
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
