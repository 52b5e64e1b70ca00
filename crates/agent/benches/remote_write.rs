//! What decoding remote write 1.0 costs.
fn main() {}
