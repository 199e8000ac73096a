//! Calls are counted by the name of their token.

use sed_server::Settings;
use tonic::Request;

use crate::harness::{Running, request};

fn by(caller: &str, code: &str) -> String {
    format!("sed_requests_by_caller_total{{caller=\"{caller}\",code=\"{code}\"}}")
}

#[tokio::test]
async fn a_call_is_counted_for_its_caller_and_a_refused_one_for_nobody() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "camera = \"0123456789abcdef\"\nspare = \"fedcba9876543210\"\n").unwrap();
    let tokens = file.path().to_str().unwrap().to_owned();
    let server = Running::start(Settings { tokens, ..Settings::default() }).await;
    let counts = server.counts();
    let call = async |header: Option<&str>, categories: usize| {
        let mut request = Request::new(request(categories));
        if let Some(header) = header {
            request.metadata_mut().insert("authorization", header.parse().unwrap());
        }
        server.client().segment(request).await.map(drop)
    };
    call(Some("Bearer 0123456789abcdef"), 2).await.unwrap();
    call(Some("Bearer 0123456789abcdef"), 0).await.unwrap_err();
    call(Some("Bearer 0123456789abcdeX"), 2).await.unwrap_err();
    call(None, 2).await.unwrap_err();

    let page = crate::scrape::get(server.ops, "/metrics").await.body;
    for (series, count) in
        [(by("camera", "OK"), 1), (by("camera", "INVALID_ARGUMENT"), 1), (by("spare", "OK"), 0)]
    {
        assert!(page.lines().any(|line| line == format!("{series} {count}")), "{series}: {page}");
    }
    assert!(!page.contains("0123456789"));
    assert_eq!(counts.of_all("sed_requests_total"), 4.0);
    assert_eq!(counts.of("sed_requests_total{method=\"Segment\",code=\"UNAUTHENTICATED\"}"), 2.0);
    for reason in ["token_missing", "token_invalid"] {
        assert_eq!(counts.of(&format!("sed_requests_rejected_total{{reason=\"{reason}\"}}")), 1.0);
    }
}

#[tokio::test]
async fn connections_are_counted_while_they_are_open() {
    let open = async |server: &Running| {
        let page = crate::scrape::get(server.ops, "/metrics").await.body;
        let line = page.lines().find_map(|line| line.strip_prefix("sed_connections ")).unwrap();
        line.parse::<f64>().unwrap()
    };
    let mut server = Running::start(Settings::default()).await;
    server.segment(request(2)).await.unwrap();
    assert_eq!(open(&server).await, 1.0);
    server.disconnect();
    while open(&server).await != 0.0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
