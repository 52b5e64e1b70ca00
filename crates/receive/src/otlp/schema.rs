//! The messages of an OTLP metrics request as tables, which map JSON keys to protobuf fields.

/// How protobuf encodes a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Bool,
    /// An integer with a variable number of bytes.
    Varint,
    /// A signed integer with a variable number of bytes, few for small negative ones.
    Zigzag,
    /// An integer with eight bytes.
    Fixed64,
    Double,
    Text,
    /// Bytes that JSON encodes in hexadecimal.
    Hex,
    /// Bytes that JSON encodes in base64.
    Base64,
    /// An integer that JSON may name: its index in this list.
    Enumeration(&'static [&'static str]),
    Message(&'static [Field]),
}

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// The key in JSON.
    pub(super) name: &'static str,
    /// The field number in protobuf.
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) is_list: bool,
    /// The least and the greatest allowed integer.
    pub(super) range: (i128, i128),
}

const I32: (i128, i128) = (i32::MIN as i128, i32::MAX as i128);
const U32: (i128, i128) = (0, u32::MAX as i128);
const I64: (i128, i128) = (i64::MIN as i128, i64::MAX as i128);
const U64: (i128, i128) = (0, u64::MAX as i128);

const fn field(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, is_list: false, range: U64 }
}

const fn integer(name: &'static str, number: u32, kind: Kind, range: (i128, i128)) -> Field {
    Field { name, number, kind, is_list: false, range }
}

const fn list(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, is_list: true, range: U64 }
}

/// `ExportMetricsServiceRequest`.
pub(super) static REQUEST: &[Field] = &[list("resourceMetrics", 1, Kind::Message(&RESOURCE_METRICS))];

static RESOURCE_METRICS: [Field; 3] = [
    field("resource", 1, Kind::Message(&RESOURCE)),
    list("scopeMetrics", 2, Kind::Message(&SCOPE_METRICS)),
    field("schemaUrl", 3, Kind::Text),
];

static RESOURCE: [Field; 2] =
    [list("attributes", 1, Kind::Message(&KEY_VALUE)), integer("droppedAttributesCount", 2, Kind::Varint, U32)];

static SCOPE_METRICS: [Field; 3] = [
    field("scope", 1, Kind::Message(&SCOPE)),
    list("metrics", 2, Kind::Message(&METRIC)),
    field("schemaUrl", 3, Kind::Text),
];

static SCOPE: [Field; 4] = [
    field("name", 1, Kind::Text),
    field("version", 2, Kind::Text),
    list("attributes", 3, Kind::Message(&KEY_VALUE)),
    integer("droppedAttributesCount", 4, Kind::Varint, U32),
];

static KEY_VALUE: [Field; 2] = [field("key", 1, Kind::Text), field("value", 2, Kind::Message(&ANY_VALUE))];

static ANY_VALUE: [Field; 7] = [
    field("stringValue", 1, Kind::Text),
    field("boolValue", 2, Kind::Bool),
    integer("intValue", 3, Kind::Varint, I64),
    field("doubleValue", 4, Kind::Double),
    field("arrayValue", 5, Kind::Message(&ARRAY_VALUE)),
    field("kvlistValue", 6, Kind::Message(&KEY_VALUE_LIST)),
    field("bytesValue", 7, Kind::Base64),
];

static ARRAY_VALUE: [Field; 1] = [list("values", 1, Kind::Message(&ANY_VALUE))];

static KEY_VALUE_LIST: [Field; 1] = [list("values", 1, Kind::Message(&KEY_VALUE))];

static METRIC: [Field; 9] = [
    field("name", 1, Kind::Text),
    field("description", 2, Kind::Text),
    field("unit", 3, Kind::Text),
    field("gauge", 5, Kind::Message(&GAUGE)),
    field("sum", 7, Kind::Message(&SUM)),
    field("histogram", 9, Kind::Message(&HISTOGRAM)),
    field("exponentialHistogram", 10, Kind::Message(&EXPONENTIAL_HISTOGRAM)),
    field("summary", 11, Kind::Message(&SUMMARY)),
    list("metadata", 12, Kind::Message(&KEY_VALUE)),
];

const TEMPORALITY: Field = integer(
    "aggregationTemporality",
    2,
    Kind::Enumeration(&[
        "AGGREGATION_TEMPORALITY_UNSPECIFIED",
        "AGGREGATION_TEMPORALITY_DELTA",
        "AGGREGATION_TEMPORALITY_CUMULATIVE",
    ]),
    I32,
);

static GAUGE: [Field; 1] = [list("dataPoints", 1, Kind::Message(&NUMBER_POINT))];

static SUM: [Field; 3] =
    [list("dataPoints", 1, Kind::Message(&NUMBER_POINT)), TEMPORALITY, field("isMonotonic", 3, Kind::Bool)];

static HISTOGRAM: [Field; 2] = [list("dataPoints", 1, Kind::Message(&HISTOGRAM_POINT)), TEMPORALITY];

static EXPONENTIAL_HISTOGRAM: [Field; 2] = [list("dataPoints", 1, Kind::Message(&EXPONENTIAL_POINT)), TEMPORALITY];

static SUMMARY: [Field; 1] = [list("dataPoints", 1, Kind::Message(&SUMMARY_POINT))];

const START: Field = field("startTimeUnixNano", 2, Kind::Fixed64);
const TIME: Field = field("timeUnixNano", 3, Kind::Fixed64);
const COUNT: Field = field("count", 4, Kind::Fixed64);
const SUM_OF_VALUES: Field = field("sum", 5, Kind::Double);

static NUMBER_POINT: [Field; 7] = [
    list("attributes", 7, Kind::Message(&KEY_VALUE)),
    START,
    TIME,
    field("asDouble", 4, Kind::Double),
    integer("asInt", 6, Kind::Fixed64, I64),
    list("exemplars", 5, Kind::Message(&EXEMPLAR)),
    integer("flags", 8, Kind::Varint, U32),
];

static HISTOGRAM_POINT: [Field; 11] = [
    list("attributes", 9, Kind::Message(&KEY_VALUE)),
    START,
    TIME,
    COUNT,
    SUM_OF_VALUES,
    list("bucketCounts", 6, Kind::Fixed64),
    list("explicitBounds", 7, Kind::Double),
    list("exemplars", 8, Kind::Message(&EXEMPLAR)),
    integer("flags", 10, Kind::Varint, U32),
    field("min", 11, Kind::Double),
    field("max", 12, Kind::Double),
];

static EXPONENTIAL_POINT: [Field; 14] = [
    list("attributes", 1, Kind::Message(&KEY_VALUE)),
    START,
    TIME,
    COUNT,
    SUM_OF_VALUES,
    integer("scale", 6, Kind::Zigzag, I32),
    field("zeroCount", 7, Kind::Fixed64),
    field("positive", 8, Kind::Message(&BUCKETS)),
    field("negative", 9, Kind::Message(&BUCKETS)),
    integer("flags", 10, Kind::Varint, U32),
    list("exemplars", 11, Kind::Message(&EXEMPLAR)),
    field("min", 12, Kind::Double),
    field("max", 13, Kind::Double),
    field("zeroThreshold", 14, Kind::Double),
];

static BUCKETS: [Field; 2] = [integer("offset", 1, Kind::Zigzag, I32), list("bucketCounts", 2, Kind::Varint)];

static SUMMARY_POINT: [Field; 7] = [
    list("attributes", 7, Kind::Message(&KEY_VALUE)),
    START,
    TIME,
    COUNT,
    SUM_OF_VALUES,
    list("quantileValues", 6, Kind::Message(&QUANTILE)),
    integer("flags", 8, Kind::Varint, U32),
];

static QUANTILE: [Field; 2] = [field("quantile", 1, Kind::Double), field("value", 2, Kind::Double)];

static EXEMPLAR: [Field; 6] = [
    list("filteredAttributes", 7, Kind::Message(&KEY_VALUE)),
    field("timeUnixNano", 2, Kind::Fixed64),
    field("asDouble", 3, Kind::Double),
    integer("asInt", 6, Kind::Fixed64, I64),
    field("spanId", 4, Kind::Hex),
    field("traceId", 5, Kind::Hex),
];
