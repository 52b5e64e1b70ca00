//! The newest samples in memory with their write-ahead log: series index, out-of-order window, replay, window cutting.
