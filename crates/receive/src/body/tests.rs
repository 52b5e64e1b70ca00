//! Tests of decompression against hostile input.

use std::io::Write;

use super::*;
use crate::testing::{pushes, unlimited};

fn gzipped(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_snappy_block_that_declares_too_much_allocates_nothing() {
    let mut out = Vec::new();
    // Declares 2^32 - 1 bytes.
    let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    let error = snappy(&bomb, 32 << 20, &unlimited(), &mut out).unwrap_err();
    assert_eq!(
        error,
        ReceiveError::BadRequest(
            "decoded size exceeds the 33554432 bytes limit (limits.max_decompressed_request_size)".into()
        )
    );
    assert_eq!(out.capacity(), 0);
}

#[test]
fn a_snappy_block_with_an_impossible_ratio_allocates_nothing() {
    let mut out = Vec::new();
    // Declares 16 MiB and has three bytes.
    let liar = [0x80, 0x80, 0x80, 0x08, 0, 0, 0];
    assert!(matches!(snappy(&liar, 32 << 20, &unlimited(), &mut out), Err(ReceiveError::BadRequest(_))));
    assert_eq!(out.capacity(), 0);
}

#[test]
fn an_empty_snappy_block_is_rejected_or_empty() {
    let mut out = Vec::new();
    assert!(matches!(snappy(&[], 100, &unlimited(), &mut out), Err(ReceiveError::BadRequest(_)) | Ok([])));
}

#[test]
fn the_best_snappy_compression_stays_below_the_ratio() {
    let plain = vec![0; 8 << 20];
    let block = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    let mut out = Vec::new();
    assert_eq!(snappy(&block, plain.len(), &unlimited(), &mut out), Ok(&plain[..]));
}

#[test]
fn a_truncated_snappy_block_is_rejected() {
    let block = snap::raw::Encoder::new().compress_vec(&[7; 1000]).unwrap();
    assert!(snappy(&block[..block.len() - 1], 1000, &unlimited(), &mut Vec::new()).is_err());
}

#[test]
fn reused_space_never_shows_earlier_bytes() {
    let mut out = Vec::new();
    for plain in [&b"a long first request"[..], b"short"] {
        let block = snap::raw::Encoder::new().compress_vec(plain).unwrap();
        assert_eq!(snappy(&block, 100, &unlimited(), &mut out), Ok(plain));
    }
}

#[test]
fn gzip_stops_at_the_limit() {
    let bomb = gzipped(&vec![0; 64 << 20]);
    let mut out = Vec::new();
    assert!(matches!(gzip(&bomb, 1 << 20, &unlimited(), &mut out), Err(ReceiveError::BadRequest(_))));
    assert!(out.capacity() < 4 << 20);
}

#[test]
fn gzip_may_fill_its_limit() {
    let mut out = Vec::new();
    gzip(&gzipped(b"hello"), 5, &unlimited(), &mut out).unwrap();
    assert_eq!(out, b"hello");
}

#[test]
fn corrupt_gzip_is_rejected() {
    let good = gzipped(b"hello");
    let mut out = Vec::new();
    assert!(gzip(&good[..good.len() - 4], 5, &unlimited(), &mut out).is_err());
    assert!(gzip(b"not gzip", 5, &unlimited(), &mut out).is_err());
}

#[tokio::test]
async fn a_body_over_the_limit_is_rejected_while_it_is_read() {
    let mut out = Vec::new();
    let error = read(Body::from(vec![1; 11]), 10, &unlimited(), &mut out).await.unwrap_err();
    assert!(matches!(error, ReceiveError::BodyTooLarge(_)));
}

#[tokio::test]
async fn a_body_may_fill_its_limit() {
    let mut out = Vec::new();
    read(Body::from(vec![1; 10]), 10, &unlimited(), &mut out).await.unwrap();
    assert_eq!(out, [1; 10]);
}

#[tokio::test]
async fn a_body_counts_as_in_flight() {
    let mut out = Vec::new();
    let scarce = pushes(5);
    assert!(matches!(read(Body::from(vec![1; 10]), 10, &scarce, &mut out).await, Err(ReceiveError::Overloaded(_))));
}
