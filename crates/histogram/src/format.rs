//! The text form of histograms: `{count:3, sum:5, [-0.001,0.001]:1, (1,2]:2}`.

use std::fmt;

use pharos_gocompat::GoFloat;

use crate::buckets::Bucket;
use crate::histogram::Histogram;

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.lower_inclusive { '[' } else { '(' };
        let close = if self.upper_inclusive { ']' } else { ')' };
        write!(f, "{open}{},{}{close}:{}", GoFloat(self.lower), GoFloat(self.upper), GoFloat(self.count))
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", GoFloat(self.count), GoFloat(self.sum))?;
        let zero = (self.zero_count != 0.0).then(|| self.zero_bucket());
        for bucket in self.negative().rev().chain(zero).chain(self.positive()).filter(|b| b.count != 0.0) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}
