use super::*;

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// The expected bits are those that Go 1.26 computes.
#[test]
fn whole_powers_are_those_of_go() {
    for (base, exponent, bits) in [
        (17.7, 33.0, 0x487c_0001_65fa_da55),
        (1.1, 10.0, 0x4004_bffc_0c03_023d),
        (-3.3, 7.0, 0xc0b0_a5d8_23e4_e195),
        (9.2, -5.0, 0x3eef_d1be_5e9c_0b88),
        (1e-5, 60.0, 0x01a5_6e1f_c2f8_f37a),
        (1e-160, 2.0, 0x7e8),
        (1.0000001, 1e9, 0x48f3_4944_5a54_3ab1),
        (2.0, 1023.0, 0x7fe0_0000_0000_0000),
        (2.0, -1074.0, 1),
        (3.0, -680.0, 0),
        (7.3, 0.5, 0x4005_9d64_2bc4_fc1c),
        (7.3, -0.5, 0x3fd7_affd_8ea6_c722),
        (0.1, 3.0, 0x3f50_624d_d2f1_a9fd),
        (5e-324, 2.0, 0),
        (5e-324, -1.0, 0x7ff0_0000_0000_0000),
        (-2.0, -1073.0, 0x8000_0000_0000_0002),
    ] {
        assert_eq!(go_pow(base, exponent).to_bits(), bits, "{base} ^ {exponent}");
    }
}

#[test]
fn powers_of_special_numbers_are_those_of_ieee() {
    assert!(go_pow(-2.0, 0.5).is_nan());
    assert!(go_pow(NAN, 2.0).is_nan());
    assert_eq!(go_pow(NAN, 0.0), 1.0);
    assert_eq!(go_pow(0.0, -3.0), INF);
    assert_eq!(go_pow(-2.0, 1.0), -2.0);
}

#[test]
fn binary_logarithms_of_powers_of_two_are_whole() {
    assert_eq!(go_log2(8.0), 3.0);
    assert_eq!(go_log2(0.5), -1.0);
    assert_eq!(go_log2(5e-324), -1074.0);
}

#[test]
fn logarithms_of_numbers_that_have_none() {
    assert_eq!(go_log2(0.0), -INF);
    assert!(go_log2(-1.0).is_nan());
    assert_eq!(go_log10(0.0), -INF);
    assert!(go_log10(-1.0).is_nan());
}

#[test]
fn the_decimal_logarithm_of_one_is_zero() {
    assert_eq!(go_log10(1.0), 0.0);
}

#[test]
fn the_sign_of_a_number_is_one_or_its_own_zero() {
    assert_eq!(sign(-3.0), -1.0);
    assert_eq!(sign(3.0), 1.0);
    assert_eq!(sign(-0.0).to_bits(), (-0.0f64).to_bits());
    assert!(sign(NAN).is_nan());
}

#[test]
fn the_minimum_of_nan_is_nan_except_with_negative_infinity() {
    assert!(go_min(1.0, NAN).is_nan());
    assert!(go_min(NAN, INF).is_nan());
    assert_eq!(go_min(NAN, -INF), -INF);
}

#[test]
fn the_maximum_of_nan_is_nan_except_with_infinity() {
    assert!(go_max(1.0, NAN).is_nan());
    assert_eq!(go_max(NAN, INF), INF);
}

#[test]
fn negative_zero_is_less_than_zero() {
    assert_eq!(go_min(0.0, -0.0).to_bits(), (-0.0f64).to_bits());
    assert_eq!(go_max(0.0, -0.0).to_bits(), 0.0f64.to_bits());
}

#[test]
fn comparisons_of_numbers_yield_zero_or_one() {
    assert_eq!(scalar_op(BinaryOp::Lss, 1.0, 2.0), Some(1.0));
    assert_eq!(scalar_op(BinaryOp::Gte, 1.0, 2.0), Some(0.0));
    assert_eq!(scalar_op(BinaryOp::Eql, NAN, NAN), Some(0.0));
    assert_eq!(scalar_op(BinaryOp::Neq, NAN, NAN), Some(1.0));
}

#[test]
fn the_remainder_has_the_sign_of_the_dividend() {
    assert_eq!(scalar_op(BinaryOp::Mod, -5.0, 3.0), Some(-2.0));
    assert_eq!(scalar_op(BinaryOp::Mod, 5.0, -3.0), Some(2.0));
}

#[test]
fn numbers_have_no_set_operators_and_no_trims() {
    for op in [BinaryOp::And, BinaryOp::Or, BinaryOp::Unless, BinaryOp::TrimUpper, BinaryOp::TrimLower] {
        assert_eq!(scalar_op(op, 1.0, 2.0), None, "{op:?}");
    }
}
