//! The operations port before the server is ready, while it is, and while it goes away.

use sed_engine::{Engine, Stage, VocabularyBook, fake::FakeStages, fake::Fault};
use sed_server::{Drain, Server, ServerConfig, Settings};
use sed_telemetry::Telemetry;

use crate::{
    harness::{Running, request},
    scrape::{ask, get},
};

#[tokio::test]
async fn it_tells_what_the_server_is_doing_until_its_end() {
    let hold = |control: &sed_engine::fake::FakeControl| control.inject(Stage::Encode, Fault::Hold);
    // The same picture is sent twice, and both times it must come to the encoder.
    let no_images = Settings { image_cache_bytes: 0, ..Settings::default() };
    let mut server = Running::launch(no_images, hold).await;
    let ops = server.ops;
    assert_eq!(get(ops, "/livez").await.status, 200);
    let page = get(ops, "/readyz").await;
    assert_eq!((page.status, page.body.as_str()), (503, "not ready: the model is being warmed up\n"));
    assert_eq!(get(ops, "/metrics").await.status, 200);

    server.control.release();
    server.engine.ready().await.unwrap();
    assert_eq!(get(ops, "/livez").await.status, 200);
    assert_eq!(get(ops, "/readyz").await.status, 200);
    server.segment(request(2)).await.unwrap();

    // A running request holds the shutdown up, so that this is looked at while it lasts.
    let running = server.occupy().await;
    server.stop();
    loop {
        let page = get(ops, "/readyz").await;
        if page.status == 503 {
            assert_eq!(page.body, "not ready: the server is shutting down\n");
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(get(ops, "/livez").await.status, 200);
    let page = get(ops, "/metrics").await;
    assert!(page.body.contains("\nsed_requests_in_flight 1\n"), "{}", page.body);

    server.control.release();
    running.await.unwrap().unwrap();
    assert_eq!(server.ended().await, Drain::Complete);
    assert!(tokio::net::TcpStream::connect(ops).await.is_err());
}

#[tokio::test]
async fn metrics_are_what_prometheus_reads() {
    let server = Running::start(Settings::default()).await;
    server.segment(request(2)).await.unwrap();
    let page = get(server.ops, "/metrics").await;
    assert!(
        page.head.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8"),
        "{}",
        page.head
    );
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        "# TYPE sed_request_duration_seconds histogram",
        "# TYPE sed_device_busy_seconds_total counter",
        &format!("sed_build_info{{version=\"{version}\"}} 1"),
        "sed_model_ready 1",
    ] {
        assert!(page.body.lines().any(|found| found == line), "no line {line} in\n{}", page.body);
    }
    let model = page.body.lines().find(|line| line.starts_with("sed_model_info{")).unwrap();
    assert!(model.contains("name=\"fake\"") && model.contains("device=\"cpu\""), "{model}");
    for (series, _) in page.body.lines().filter_map(|line| line.rsplit_once(' ')) {
        assert!(!series.contains("quantile="), "a summary: {series}");
    }
}

#[tokio::test]
async fn anything_else_is_not_found_and_nothing_can_be_changed() {
    let server = Running::start(Settings::default()).await;
    for path in ["/", "/health", "/metrics/x", "/livez?verbose/..", "/%2e%2e/livez"] {
        let expected = if path.starts_with("/livez?") { 200 } else { 404 }; // a query is no part of the path
        assert_eq!(get(server.ops, path).await.status, expected, "{path}");
    }
    let posted = ask(server.ops, "POST", "/livez").await;
    assert_eq!(posted.status, 405);
    assert!(posted.head.contains("\r\nallow: get, head"), "{}", posted.head);
    let head = ask(server.ops, "HEAD", "/readyz").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_the_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let bind = async |raw: Settings| {
        let config = ServerConfig::check(&raw).unwrap();
        let engine = Engine::start(FakeStages::new().0, &config.engine, &Telemetry::off()).unwrap();
        Server::bind(config, engine, VocabularyBook::default(), Telemetry::off())
            .await
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    let free = || "127.0.0.1:0".to_owned();
    let ops = Settings { listen: free(), ops_listen: address.to_string(), ..Settings::default() };
    let error = bind(ops).await;
    assert!(error.starts_with(&format!("cannot listen on {address}: ")), "{error}");
    assert!(error.ends_with("choose another with the setting ops_listen"), "{error}");
    let main = Settings { listen: address.to_string(), ops_listen: free(), ..Settings::default() };
    let error = bind(main).await;
    assert!(error.ends_with("choose another with the setting listen"), "{error}");
}

#[tokio::test]
async fn it_can_be_off() {
    let raw = Settings { listen: "127.0.0.1:0".into(), ops_listen: "off".into(), ..Settings::default() };
    let config = ServerConfig::check(&raw).unwrap();
    let engine = Engine::start(FakeStages::new().0, &config.engine, &Telemetry::off()).unwrap();
    let server = Server::bind(config, engine, VocabularyBook::default(), Telemetry::off()).await.unwrap();
    assert_eq!(server.ops_addr(), None);
}
