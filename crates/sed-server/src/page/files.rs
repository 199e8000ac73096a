//! The files of the playground, compressed in the program.

use std::{io::Read, sync::LazyLock};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{ACCEPT_ENCODING, IF_NONE_MATCH},
};
use http_body_util::Full;
use tonic::body::Body;

/// A file of the page.
struct File {
    name: &'static str,
    content: &'static [u8],
    /// The content is compressed with gzip.
    packed: bool,
    /// The entity tag, in its quotation marks.
    tag: &'static str,
}

/// The files of `playground/dist`.
const FILES: &[File] = &include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// The contents of [`FILES`] unpacked, in their order. All answers share them: a client that reads slowly holds none.
static PLAIN: LazyLock<Vec<Bytes>> = LazyLock::new(|| FILES.iter().map(unpacked).collect());

/// Scripts, styles and calls of this origin only, and pictures that stay in the browser.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'";

/// Headers of every file of the page.
const HEADERS: [(&str, &str); 6] = [
    ("content-security-policy", POLICY),
    ("permissions-policy", "camera=(self), microphone=(), geolocation=()"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-cache"),
    ("vary", "accept-encoding"),
];

/// The file at a path, as it is in the program or, for a client without gzip, unpacked; `None` where there is
/// none.
pub(super) fn answer(path: &str, asked: &HeaderMap) -> Option<Response<Body>> {
    let name = if path == "/" { "index.html" } else { path.strip_prefix('/')? };
    let index = FILES.iter().position(|file| file.name == name)?;
    let file = &FILES[index];
    let mut response = Response::new(Body::empty());
    HEADERS.iter().for_each(|&(name, value)| set(&mut response, name, value));
    set(&mut response, "content-type", kind(name));
    set(&mut response, "etag", file.tag);
    if asked.get(IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == file.tag.as_bytes()) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Some(response);
    }
    let content = if !file.packed {
        Bytes::from_static(file.content)
    } else if reads_gzip(asked) {
        set(&mut response, "content-encoding", "gzip");
        Bytes::from_static(file.content)
    } else {
        PLAIN[index].clone()
    };
    *response.body_mut() = Body::new(Full::new(content));
    Some(response)
}

/// Sets a header.
pub(super) fn set(response: &mut Response<Body>, name: &'static str, value: &'static str) {
    response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("webp") => "image/webp",
        _ => "application/octet-stream",
    }
}

fn reads_gzip(asked: &HeaderMap) -> bool {
    let ways = asked.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    ways.flat_map(|value| value.split(',')).any(|way| {
        let (name, weight) = way.split_once(';').unwrap_or((way, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

fn unpacked(file: &File) -> Bytes {
    if !file.packed {
        return Bytes::from_static(file.content);
    }
    let mut plain = Vec::new();
    // The build wrote it: it unpacks. The tests read every file.
    let _ = GzDecoder::new(file.content).read_to_end(&mut plain);
    Bytes::from(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_unpacks_to_the_built_one_and_has_a_kind() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../playground/dist/");
        for file in FILES {
            let built = std::fs::read(format!("{folder}{}", file.name)).unwrap();
            assert_eq!(unpacked(file), built, "{}", file.name);
            assert_ne!(kind(file.name), "application/octet-stream", "{}", file.name);
        }
        assert_eq!(FILES.len(), std::fs::read_dir(folder).unwrap().count());
    }

    #[test]
    fn the_page_has_less_than_200_kb() {
        let size: usize = FILES.iter().map(|file| file.content.len()).sum();
        assert!(size < 200_000, "{size}");
    }

    #[test]
    fn gzip_is_sent_to_clients_that_accept_it() {
        for (asked, packed) in [("gzip", true), ("br, GZIP;q=0.5", true), ("gzip;q=0", false), ("br", false)]
        {
            let asked = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(asked))]);
            let encoding =
                answer("/playground.js", &asked).unwrap().headers().get("content-encoding").cloned();
            assert_eq!(encoding.is_some(), packed, "{asked:?}");
        }
    }

    #[test]
    fn a_known_page_is_not_sent_again() {
        let file = FILES.iter().find(|file| file.name == "playground.js").unwrap();
        let asked = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(file.tag))]);
        assert_eq!(answer("/playground.js", &asked).unwrap().status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer("/playground.js", &HeaderMap::new()).unwrap().status(), StatusCode::OK);
        assert!(answer("/../Cargo.toml", &HeaderMap::new()).is_none());
    }
}
