use super::*;

fn sum(left: &str, right: &str) -> String {
    let read = |text: &str| Extended::parse(text.as_bytes()).unwrap();
    read(left).add(read(right)).unwrap().to_string()
}

fn show(text: &str) -> Option<String> {
    Extended::parse(text.as_bytes()).map(|number| number.to_string())
}

#[test]
fn sums_are_those_of_redis() {
    for (left, right, expected) in [
        ("0", "0.1", "0.1"),
        ("0.1", "0.2", "0.3"),
        ("10.50", "0.1", "10.6"),
        ("5.0e3", "2.0e2", "5200"),
        ("3.0e3", "-5000", "-2000"),
        ("1", "-1", "0"),
        ("-1.5", "1.5", "0"),
        ("-0", "-0", "0"),
        ("0", "-1e-30", "0"),
        ("17179869184", "1.5", "17179869185.5"),
        ("1e18", "0.1", "1000000000000000000.125"),
        ("0", "1e-17", "0.00000000000000001"),
    ] {
        assert_eq!(sum(left, right), expected, "{left} + {right}");
    }
}

#[test]
fn text_is_read_as_strtold_reads_it() {
    assert_eq!(show("0x1p4").as_deref(), Some("16"));
    assert_eq!(show("0x.8").as_deref(), Some("0.5"));
    assert_eq!(show("+.5e1").as_deref(), Some("5"));
    assert_eq!(show("5.").as_deref(), Some("5"));
    assert_eq!(show("1e-4940").as_deref(), Some("0"));
    assert_eq!(show("-inf").as_deref(), Some("-inf"));
    for refused in [
        "",
        " 1",
        "1 ",
        "nan",
        "1e",
        "1e+",
        ".",
        "e5",
        "0x",
        "--1",
        "1..2",
        "1e5000",
        "1e-5000",
        "1e99999999999999999999",
        "abc",
    ] {
        assert_eq!(show(refused), None, "{refused:?}");
    }
}

#[test]
fn the_largest_number_prints_all_its_digits_and_its_double_is_infinite() {
    let largest = "1.18973149535723176502e4932";
    let text = show(largest).unwrap();
    assert_eq!(text.len(), 4933);
    assert!(text.starts_with(
        "118973149535723176502126385303097020516906332229462420044032373389173700552297072261641"
    ));
    let read = Extended::parse(largest.as_bytes()).unwrap();
    assert!(!read.add(read).unwrap().is_finite());
}

/// Doubles are a subset: their exact sums, rounded once to a double, must be the sums that the processor computes.
#[test]
fn sums_of_doubles_agree_with_the_processor() {
    let mut rng = fastrand::Rng::with_seed(0x5eed);
    for round in 0..20_000 {
        let draw = |rng: &mut fastrand::Rng| {
            let scale = 10_f64.powi(rng.i32(-12..12));
            ((rng.f64() - 0.5) * scale * 1e6).round() / 1e6
        };
        let (left, right) = (draw(&mut rng), draw(&mut rng));
        let printed = sum(&format!("{left:e}"), &format!("{right:e}"));
        let exact: f64 = printed.parse().unwrap();
        let difference = (exact - (left + right)).abs();
        assert!(
            difference <= (left.abs() + right.abs()) * f64::EPSILON + 1e-17,
            "{round}: {left:e} + {right:e} = {printed}"
        );
    }
}

/// Reading what was printed gives the same number again, for numbers whose digits fit behind the point.
#[test]
fn printing_and_reading_are_inverse_for_numbers_of_moderate_size() {
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..5_000 {
        let text = format!("{}.{:05}", rng.u64(1 << 40..1 << 50), rng.u32(0..100_000));
        let number = Extended::parse(text.as_bytes()).unwrap();
        assert_eq!(Extended::parse(number.to_string().as_bytes()), Some(number), "{text}");
    }
}
