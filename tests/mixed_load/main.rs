//! Thousands of mixed requests over real gRPC against the embedded model, while callers give up, deadlines pass,
//! inputs are wrong and the model stumbles: every caller gets one answer of the right kind, the counters add
//! up, and nothing is left behind. And requests with words that take long ([`cold_words`]).

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod cold_words;
mod server;

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hasher},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use prost::Message;
use sed_engine::builtin_vocabularies;
use sed_proto::v1;
use sed_server::{ServerConfig, Settings, metrics};
use sed_telemetry::Label;
use sed_tests::device::{self, share};
use tokio::sync::RwLock;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::server::{Running, client};

#[global_allocator]
static ALLOCATED: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

/// The load measures the memory of the whole program, so it writes here, which is alone, and all other tests
/// read.
static PROGRAM: RwLock<()> = RwLock::const_new(());

/// Requests that warm everything up, and those that count.
const REQUESTS: (usize, usize) = (1500, 5000);
const CALLERS: usize = 24;
/// Requests that are asked again in the end.
const SAMPLES: usize = 40;
/// Memory that may come and go by chance: buffers of threads that had not yet seen their largest work.
const SLACK_MIB: f32 = 16.0;

const WORDS: [&str; 24] = [
    "dog", "cat", "horse", "tree", "house", "sky", "grass", "sand", "water", "snow", "road", "car", "bus",
    "boat", "sun", "cloud", "flower", "ball", "chair", "table", "lamp", "cup", "apple", "bread",
];

/// Small pictures, each another.
fn pictures() -> Vec<Vec<u8>> {
    let picture = |number: u32| {
        let pixels = image::RgbImage::from_fn(96 + number, 72, |x, y| {
            image::Rgb([(x * (number + 1)) as u8, (y * 3) as u8, (x * y / (number + 2)) as u8])
        });
        let mut file = std::io::Cursor::new(Vec::new());
        pixels.write_to(&mut file, image::ImageFormat::Png).unwrap();
        file.into_inner()
    };
    (0..40).map(picture).collect()
}

/// The kind of a request, which decides the ends that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Good,
    ById,
    Hurried,
    Wrong,
    Abandoned,
}

fn draw(
    random: &mut fastrand::Rng,
    pictures: &[Vec<u8>],
    ids: &Mutex<Vec<String>>,
) -> (Kind, v1::SegmentRequest) {
    let picture = pictures[random.usize(..pictures.len())].clone();
    let mut source = v1::image::Source::Encoded(picture.into());
    let first = random.usize(..WORDS.len());
    let count = random.usize(1..WORDS.len());
    let name = |offset: usize| WORDS[(first + offset) % WORDS.len()].to_owned();
    let mut categories: Vec<_> =
        (0..count).map(|offset| v1::Category { name: name(offset), synonyms: Vec::new() }).collect();
    if random.u32(0..4) == 0 {
        categories[0].synonyms.push("something else".into());
    }
    let mut options = v1::SegmentOptions { top_k: Some(random.u32(0..6)), ..Default::default() };
    let mut named = random.u32(0..12) == 0;
    let kind = match random.u32(0..100) {
        0..64 => Kind::Good,
        64..72 => Kind::ById,
        72..82 => Kind::Hurried,
        82..91 => Kind::Wrong,
        _ => Kind::Abandoned,
    };
    match kind {
        Kind::ById => {
            let known = ids.lock().unwrap();
            if let Some(id) = known.get(random.usize(..known.len().max(1))) {
                source = v1::image::Source::Id(id.clone());
            }
        }
        Kind::Wrong => {
            named = false;
            match random.u32(0..5) {
                0 => categories.clear(),
                1 => categories.push(categories[0].clone()),
                2 => options.top_k = Some(1_000_000),
                3 => options.score_threshold = Some(f32::NAN),
                _ => {
                    source =
                        v1::image::Source::Encoded(bytes::Bytes::from_static(b"\x89PNG\r\n\x1a\nand no more"))
                }
            }
        }
        Kind::Good | Kind::Hurried | Kind::Abandoned => {}
    }
    let vocabulary = if named {
        v1::vocabulary::Source::Name("pascal-voc-20".into())
    } else {
        v1::vocabulary::Source::Categories(v1::CategoryList { categories })
    };
    let synonym_mode = random.i32(0..3);
    let auto = v1::contrast::Source::Automatic(v1::AutoContrast {});
    let contrast = (random.u32(0..6) == 0).then_some(v1::Contrast { source: Some(auto) });
    let request = v1::SegmentRequest {
        image: Some(v1::Image { source: Some(source) }),
        vocabulary: Some(v1::Vocabulary { source: Some(vocabulary), synonym_mode, contrast }),
        options: Some(options),
        request_id: String::new(),
    };
    (kind, request)
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// Reports whether an error is one that a request of this kind may get.
fn is_right(kind: Kind, status: &Status) -> bool {
    let reason = reason(status);
    let busy = status.code() == Code::ResourceExhausted && reason == "QUEUE_FULL";
    let stumbled = matches!(
        (status.code(), reason.as_str()),
        (Code::Internal, "INTERNAL")
            | (Code::ResourceExhausted, "DEVICE_OUT_OF_MEMORY")
            | (Code::Unavailable, "DEVICE_LOST")
    );
    let late = matches!(
        (status.code(), reason.as_str()),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED" | "DEADLINE_TOO_SHORT")
            | (Code::ResourceExhausted, "DEADLINE_UNREACHABLE" | "VOCABULARY_NOT_READY")
    );
    match kind {
        Kind::Good | Kind::Abandoned => busy || stumbled,
        Kind::ById => busy || stumbled || (status.code() == Code::NotFound && reason == "IMAGE_NOT_FOUND"),
        Kind::Hurried => busy || stumbled || late,
        // What can be said without decoding the picture comes first; a lost device comes before the picture.
        Kind::Wrong => busy || status.code() == Code::InvalidArgument || reason == "DEVICE_LOST",
    }
}

/// Results that the callers have seen.
#[derive(Debug, Default)]
struct Seen {
    codes: BTreeMap<String, u64>,
    abandoned: u64,
    /// A digest of the mask of every request that was ever answered well, by one of the request: the same request
    /// always gets the same.
    masks: HashMap<u64, u64>,
    /// Some of these requests, to ask again.
    samples: Vec<v1::SegmentRequest>,
}

impl Seen {
    fn note(
        &mut self,
        kind: Kind,
        request: &v1::SegmentRequest,
        answer: Result<v1::SegmentResponse, Status>,
    ) {
        let code = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
        *self.codes.entry(code_name(code)).or_default() += 1;
        match answer {
            Ok(response) => {
                assert_ne!(kind, Kind::Wrong, "a wrong request was answered");
                self.check_mask(request, &response);
            }
            Err(status) => assert!(is_right(kind, &status), "{kind:?}: {status:?}"),
        }
    }

    fn check_mask(&mut self, request: &v1::SegmentRequest, response: &v1::SegmentResponse) {
        // However the picture was sent, its id says which it is.
        let image = v1::Image { source: Some(v1::image::Source::Id(response.image_id.clone())) };
        let canonical = v1::SegmentRequest { image: Some(image), ..request.clone() };
        let Some(v1::mask::Content::IndexPng(mask)) = &response.masks[0].content else {
            panic!("an index png was asked for");
        };
        let mask = digest(mask);
        let known = self.masks.entry(digest(&canonical.encode_to_vec())).or_insert_with(|| {
            let by_id = matches!(&request.image, Some(v1::Image { source: Some(v1::image::Source::Id(_)) }));
            if !by_id && self.samples.len() < SAMPLES {
                self.samples.push(request.clone());
            }
            mask
        });
        assert!(*known == mask, "the same request got another mask");
    }
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

fn code_name(code: Code) -> String {
    metrics::Code(code).as_str().to_owned()
}

/// Has the callers send `requests` requests in all.
async fn load(address: SocketAddr, requests: usize, seed: u64, seen: Seen) -> Seen {
    let (seen, ids) = (Arc::new(Mutex::new(seen)), Arc::new(Mutex::new(Vec::new())));
    let (left, pictures) = (Arc::new(AtomicUsize::new(requests)), Arc::new(pictures()));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (seen, left, pictures, ids) =
                (Arc::clone(&seen), Arc::clone(&left), Arc::clone(&pictures), Arc::clone(&ids));
            let mut client = client(address);
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed + caller as u64);
                while left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                    .is_ok()
                {
                    let (kind, message) = draw(&mut random, &pictures, &ids);
                    let mut request = tonic::Request::new(message.clone());
                    if kind == Kind::Hurried {
                        let timeout = format!("{}m", random.u32(1..400));
                        request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
                    }
                    let patience = match kind {
                        Kind::Abandoned => Duration::from_millis(random.u64(0..120)),
                        _ => Duration::from_secs(120),
                    };
                    match tokio::time::timeout(patience, client.segment(request)).await {
                        Ok(answer) => {
                            let answer = answer.map(tonic::Response::into_inner);
                            if let Ok(response) = &answer {
                                let mut ids = ids.lock().unwrap();
                                ids.push(response.image_id.clone());
                                let forget = ids.len().saturating_sub(60);
                                ids.drain(..forget);
                            }
                            // As well-behaved clients do: a little later.
                            let busy = matches!(
                                answer.as_ref().map_err(Status::code),
                                Err(Code::Unavailable | Code::ResourceExhausted)
                            );
                            seen.lock().unwrap().note(kind, &message, answer);
                            if busy {
                                tokio::time::sleep(Duration::from_millis(random.u64(20..120))).await;
                            }
                        }
                        Err(_) => {
                            assert_eq!(kind, Kind::Abandoned, "a request was never answered");
                            seen.lock().unwrap().abandoned += 1;
                        }
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    Arc::into_inner(seen).unwrap().into_inner().unwrap()
}

/// Calls of `Segment` that the server has counted, by code.
fn counted(server: &Running) -> BTreeMap<String, u64> {
    let prefix = "sed_requests_total{method=\"Segment\",code=\"";
    let samples = server.samples();
    let ours = samples.iter().filter_map(|(name, value)| {
        let code = name.strip_prefix(prefix)?.strip_suffix("\"}")?;
        Some((code.to_owned(), *value as u64))
    });
    ours.filter(|(_, count)| *count > 0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_mixed_requests_each_end_right_and_leave_nothing_behind() {
    let _alone = PROGRAM.write().await;
    // Panics are part of this test; their stories are not.
    std::panic::set_hook(Box::new(|info| {
        if info.payload().downcast_ref::<&str>() != Some(&"drawn") {
            println!("{info}");
        }
    }));
    let (warm_requests, requests) = (share(REQUESTS.0), share(REQUESTS.1));
    let config = ServerConfig::check(&Settings {
        listen: "127.0.0.1:0".into(),
        ops_listen: "off".into(),
        queue_capacity: Some(20),
        device_probe_seconds: 0.05,
        // Caches that are soon full, so that they evict all the time.
        text_cache_bytes: 1 << 20,
        vocabulary_cache_bytes: 2 << 20,
        image_cache_bytes: 2 << 20,
        ..Settings::default()
    })
    .unwrap();
    let server = Running::start(&device::under_test(), config, builtin_vocabularies(), Duration::ZERO).await;
    let address = server.address;

    server.faults.set(true);
    let warm = load(address, warm_requests, 1000, Seen::default()).await;
    server.until_quiet().await;
    let (before, counted_before) = (ALLOCATED.current_usage_as_mb(), counted(&server));
    let (masks, samples_of) = (warm.masks, warm.samples);
    let seen = load(address, requests, 2000, Seen { masks, samples: samples_of, ..Seen::default() }).await;
    server.until_quiet().await;
    let after = ALLOCATED.current_usage_as_mb();

    // Every call was counted once, under the code that its caller saw.
    let counted: BTreeMap<String, u64> = counted(&server)
        .into_iter()
        .map(|(code, count)| (code.clone(), count - counted_before.get(&code).copied().unwrap_or(0)))
        .collect();
    println!("seen {:?}, abandoned {}; counted {counted:?}", seen.codes, seen.abandoned);
    let answered: u64 = seen.codes.values().sum();
    assert_eq!(answered + seen.abandoned, requests as u64);
    // Of the abandoned calls, the server counts those that have reached it.
    let heard_of = counted.values().sum::<u64>() - answered;
    assert!(heard_of <= seen.abandoned, "{heard_of} more calls were counted than were answered");
    for (code, count) in &seen.codes {
        assert!(counted[code] >= *count, "{code}: seen {count}, counted {}", counted[code]);
    }
    assert!(seen.codes["OK"] > requests as u64 / 3, "{:?}", seen.codes);
    assert!(seen.codes.len() >= 4, "the load was too gentle: {:?}", seen.codes);

    // Nothing waits, and what was kept is within its bounds.
    let now = server.samples();
    for priority in ["high", "normal", "low"] {
        assert_eq!(now[&format!("sed_queue_depth{{priority=\"{priority}\"}}")], 0.0);
    }
    assert_eq!(now["sed_queued_pairs"], 0.0);
    for cache in ["text", "vocabulary", "image"] {
        assert!(
            now[&format!("sed_{cache}_cache_bytes")] <= now[&format!("sed_{cache}_cache_capacity_bytes")]
        );
        assert!(now[&format!("sed_{cache}_cache_evictions_total")] > 0.0, "the {cache} cache was never full");
    }
    if requests == REQUESTS.1 {
        // Of few requests it may be that none meets a panic.
        assert!(now["sed_device_errors_total{kind=\"panic\"}"] > 0.0);
        assert!(now["sed_device_restarts_total"] > 0.0);
    }
    for level in ["2", "3"] {
        let came = ["survived", "rejected"].map(|outcome| {
            now[&format!("sed_category_level_total{{level=\"{level}\",outcome=\"{outcome}\"}}")]
        });
        let below = level.parse::<u32>().unwrap() - 1;
        let survived = now[&format!("sed_category_level_total{{level=\"{below}\",outcome=\"survived\"}}")];
        assert!(came.iter().sum::<f64>() <= survived, "level {level} saw more categories than survived");
    }

    println!("memory {before:.1} MiB before, {after:.1} MiB after {requests} requests");
    assert!(after <= before + SLACK_MIB, "memory grew from {before} to {after} MiB");

    // Without faults and without company, the answers are the same.
    server.faults.set(false);
    server.engine.state().wait_for(sed_engine::EngineState::is_ready).await.unwrap();
    let mut again = Seen { masks: seen.masks, ..Seen::default() };
    let mut client = client(address);
    for request in seen.samples {
        let answer = client.segment(request.clone()).await.map(tonic::Response::into_inner);
        assert!(answer.is_ok(), "{answer:?}");
        again.note(Kind::Good, &request, answer);
    }

    server.end().await;
}
