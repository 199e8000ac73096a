//! gRPC-Web over HTTP/1.1, written by hand as a browser would send it.

use std::net::SocketAddr;

use prost::Message;
use sed_proto::v1;
use sed_server::Settings;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    raw::frame,
    secured::{Secured, with_tokens},
};

const PATH: &str = "/sed.v1.SegmentationService/GetServerInfo";
const PAGE: &str = "https://example.org";

struct Page {
    status: u16,
    head: String,
    body: Vec<u8>,
}

async fn ask(address: SocketAddr, method: &str, headers: &[(&str, &str)], body: &[u8]) -> Page {
    request(address, method, PATH, headers, body).await
}

async fn get(address: SocketAddr, path: &str) -> Page {
    request(address, "GET", path, &[], &[]).await
}

async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Page {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await; // a server that speaks no HTTP/1.1 may reset the connection
    let Some(end) = answer.windows(4).position(|found| found == b"\r\n\r\n") else {
        return Page { status: 0, head: String::new(), body: answer };
    };
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer[end + 4..].to_vec();
    Page {
        status,
        body: if head.contains("transfer-encoding: chunked") { joined(&body) } else { body },
        head,
    }
}

/// The chunks of a body, put together.
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = chunks.windows(2).position(|found| found == b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return whole;
        }
        whole.extend(&chunks[end + 2..end + 2 + length]);
        chunks = &chunks[end + 4 + length..];
    }
}

const CALL: [(&str, &str); 3] =
    [("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1"), ("origin", PAGE)];

/// The messages and the trailers of an answer.
fn frames(mut body: &[u8]) -> (Vec<Vec<u8>>, String) {
    let mut messages = Vec::new();
    loop {
        let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
        let content = &body[5..5 + length];
        if body[0] == 0x80 {
            return (messages, String::from_utf8(content.to_vec()).unwrap());
        }
        messages.push(content.to_vec());
        body = &body[5 + length..];
    }
}

fn web(origins: &[&str]) -> Settings {
    let origins = origins.iter().map(ToString::to_string).collect();
    Settings { grpc_web: true, grpc_web_origins: origins, ..Settings::default() }
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_call() {
    let server = Secured::start(&|_, _| web(&["http://localhost:3000", PAGE])).await;
    let page = ask(server.address, "POST", &CALL, &frame(false, &[])).await;
    assert_eq!(page.status, 200, "{}", page.head);
    assert!(page.head.contains("content-type: application/grpc-web+proto"), "{}", page.head);
    assert!(page.head.contains("access-control-allow-origin: https://example.org"), "{}", page.head);
    assert!(page.head.contains("grpc-status-details-bin"), "{}", page.head);
    let (messages, trailers) = frames(&page.body);
    assert!(trailers.contains("grpc-status:0"), "{trailers}");
    let info = v1::GetServerInfoResponse::decode(&messages[0][..]).unwrap();
    assert_eq!(info.model.unwrap().name, "fake");
    // gRPC itself goes on over the same port.
    server.client(None).get_server_info(v1::GetServerInfoRequest {}).await.unwrap();
    // And a request of HTTP/1.1 that is none of both is refused.
    assert_eq!(ask(server.address, "GET", &[], &[]).await.status, 400);
}

#[tokio::test]
async fn browsers_are_told_who_may_call() {
    let server = Secured::start(&|_, _| web(&[PAGE])).await;
    let preflight = |origin: &'static str| {
        [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type,x-grpc-web,authorization"),
        ]
    };
    let allowed = ask(server.address, "OPTIONS", &preflight(PAGE), &[]).await;
    assert_eq!(allowed.status, 200);
    for line in [
        "access-control-allow-origin: https://example.org",
        "access-control-allow-methods: post",
        "access-control-allow-headers: content-type,x-grpc-web,authorization",
    ] {
        assert!(allowed.head.contains(line), "{line}: {}", allowed.head);
    }
    let other = ask(server.address, "OPTIONS", &preflight("https://elsewhere.example"), &[]).await;
    assert!(!other.head.contains("access-control-allow-origin"), "{}", other.head);

    let open = Secured::start(&|_, _| web(&["*"])).await;
    let anybody = ask(open.address, "OPTIONS", &preflight("https://elsewhere.example"), &[]).await;
    assert!(anybody.head.contains("access-control-allow-origin: *"), "{}", anybody.head);
}

#[tokio::test]
async fn pages_need_a_token_too_but_their_browsers_do_not() {
    const SECRET: &str = "0123456789abcdef-page";
    let server = Secured::start(&|folder, _| {
        let tokens = with_tokens(folder, &format!("page = \"{SECRET}\"\n"));
        Settings { tokens: tokens.tokens, ..web(&[PAGE]) }
    })
    .await;
    let ask_first = [("origin", PAGE), ("access-control-request-method", "POST")];
    assert_eq!(ask(server.address, "OPTIONS", &ask_first, &[]).await.status, 200);
    let refused = ask(server.address, "POST", &CALL, &frame(false, &[])).await;
    assert!(refused.head.contains("grpc-status: 16"), "{}", refused.head);
    let bearer = format!("Bearer {SECRET}");
    let with_token = [&CALL[..], &[("authorization", bearer.as_str())]].concat();
    let served = ask(server.address, "POST", &with_token, &frame(false, &[])).await;
    assert!(frames(&served.body).1.contains("grpc-status:0"));
}

#[tokio::test]
async fn without_it_http_1_gets_an_explanation_alone() {
    let server = Secured::start(&|_, _| Settings::default()).await;
    let call = ask(server.address, "POST", &CALL, &frame(false, &[])).await;
    assert_eq!(call.status, 505, "{}", call.head);
    let page = get(server.address, "/").await;
    assert_eq!(page.status, 200, "{}", page.head);
    assert!(page.head.contains("content-type: text/plain"), "{}", page.head);
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.contains("grpcurl") && text.contains("--playground"), "{text}");
    assert_eq!(get(server.address, "/playground.js").await.status, 505);
}

#[tokio::test]
async fn the_playground_is_served_with_its_policy_and_may_call() {
    let server = Secured::start(&|_, _| Settings { playground: true, ..Settings::default() }).await;
    let page = get(server.address, "/").await;
    assert_eq!(page.status, 200, "{}", page.head);
    assert!(
        page.head.contains("content-security-policy: default-src 'none'; script-src 'self'"),
        "{}",
        page.head
    );
    assert!(String::from_utf8(page.body).unwrap().contains("playground.js"));
    for (file, kind) in
        [("/playground.js", "text/javascript"), ("/playground.css", "text/css"), ("/farm.webp", "image/webp")]
    {
        let file = get(server.address, file).await;
        assert!(file.status == 200 && file.head.contains(kind), "{}", file.head);
    }
    let call = ask(server.address, "POST", &CALL, &frame(false, &[])).await;
    assert!(frames(&call.body).1.contains("grpc-status:0"), "{}", call.head);
    assert!(!call.head.contains("access-control-allow-origin"), "{}", call.head);
}
