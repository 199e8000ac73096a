//! Segments a picture: `cargo run -p sed-client --example segment -- farm.png cow house grass`.
//! The server is that of `SED_SERVER`, or the one of this machine.

use std::{env, error::Error, io::Write};

use sed_client::{Access, Client, MaskEncoding, SegmentRequest};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let file = arguments.next().ok_or("usage: segment PICTURE WORD...")?;
    let server = env::var("SED_SERVER").unwrap_or_else(|_| "http://127.0.0.1:50051".to_owned());

    let client = Client::connect(&server, &Access::default()).await?;
    let picture = sed_client::read_picture(&file).await?;
    let request = SegmentRequest::encoded(picture).words(arguments).mask(MaskEncoding::IndexPng);
    let answer = client.segment(request).await?;

    let mut out = std::io::stdout().lock();
    for category in answer.report.found() {
        writeln!(out, "{}: {:.1} %", category.name, 100.0 * category.area_share)?;
    }
    std::fs::write("mask.png", answer.index_png()?)?;
    Ok(())
}
