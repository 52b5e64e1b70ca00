//! Tests of decompression against hostile input.

use std::io::Write;

use super::*;
use crate::inflight::Inflight;

fn plenty() -> Taken {
    Taken::none(&Inflight::new(1 << 30))
}

fn gzipped(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn snappy_bombs_take_no_memory() {
    let mut out = Vec::new();
    // Declares 2^32 - 1 bytes.
    let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    let error = snappy(&bomb, 32 << 20, &mut plenty(), &mut out).unwrap_err();
    assert_eq!(error, ReceiveError::BadRequest("decoded size exceeds the 33554432 bytes limit".into()));
    // Declares 16 MiB, has three bytes.
    let liar = [0x80, 0x80, 0x80, 0x08, 0, 0, 0];
    assert!(matches!(snappy(&liar, 32 << 20, &mut plenty(), &mut out), Err(ReceiveError::BadRequest(_))));
    assert_eq!(out.capacity(), 0);
    assert!(matches!(snappy(&[], 100, &mut plenty(), &mut out), Err(ReceiveError::BadRequest(_)) | Ok([])));
}

#[test]
fn the_best_snappy_compression_is_below_the_ratio() {
    let plain = vec![0; 8 << 20];
    let block = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    let mut out = Vec::new();
    assert_eq!(snappy(&block, plain.len(), &mut plenty(), &mut out), Ok(&plain[..]));
    assert!(snappy(&block[..block.len() - 1], plain.len(), &mut plenty(), &mut out).is_err());
}

#[test]
fn room_is_used_again_and_never_shows_older_bytes() {
    let mut out = Vec::new();
    for plain in [&b"a long first request"[..], b"short"] {
        let block = snap::raw::Encoder::new().compress_vec(plain).unwrap();
        assert_eq!(snappy(&block, 100, &mut plenty(), &mut out), Ok(plain));
    }
}

#[test]
fn gzip_stops_at_the_limit() {
    let bomb = gzipped(&vec![0; 64 << 20]);
    let mut out = Vec::new();
    assert!(matches!(gzip(&bomb, 1 << 20, &mut plenty(), &mut out), Err(ReceiveError::BadRequest(_))));
    assert!(out.capacity() < 4 << 20);
    let good = gzipped(b"hello");
    gzip(&good, 5, &mut plenty(), &mut out).unwrap();
    assert_eq!(out, b"hello");
    assert!(gzip(&good[..good.len() - 4], 5, &mut plenty(), &mut out).is_err());
    assert!(gzip(b"not gzip", 5, &mut plenty(), &mut out).is_err());
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_while_they_are_read() {
    let mut out = Vec::new();
    let error = read(Body::from(vec![1; 11]), 10, &mut plenty(), &mut out).await.unwrap_err();
    assert!(matches!(error, ReceiveError::BodyTooLarge(_)));
    read(Body::from(vec![1; 10]), 10, &mut plenty(), &mut out).await.unwrap();
    assert_eq!(out, [1; 10]);
    let mut scarce = Taken::none(&Inflight::new(5));
    assert!(matches!(read(Body::from(vec![1; 10]), 10, &mut scarce, &mut out).await, Err(ReceiveError::Overloaded(_))));
}
