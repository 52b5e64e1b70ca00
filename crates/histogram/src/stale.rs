//! The stale marker: a NaN with bits of its own that says that a series has ended.
//!
//! A float sample carries it as its value, a histogram as its sum. It is defined here because this is the lowest crate
//! that distinguishes a marker from an observation.

/// The NaN that ends a series (Prometheus's `value.StaleNaN`). Compare its bits, never its value.
pub const STALE_NAN: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether a value is the stale marker.
pub fn is_stale_nan(value: f64) -> bool {
    value.to_bits() == STALE_NAN.to_bits()
}
