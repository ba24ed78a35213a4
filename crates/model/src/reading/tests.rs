//! The rules beside what the Python package makes of the same texts: `tests/protocol/readings.json`.

use serde_json::Value;

use super::{is_missing, Chosen, Poll, Reading, Said};

const CORPUS: &str = include_str!("../../../../tests/protocol/readings.json");

fn corpus(part: &str) -> Vec<Value> {
    let whole: Value = serde_json::from_str(CORPUS).unwrap();
    let found = whole[part].as_array().unwrap().clone();
    assert!(found.len() > 20);
    found
}

#[test]
fn every_text_says_what_it_says_in_python() {
    for case in corpus("texts") {
        let text = case["text"].as_str().unwrap();
        assert_eq!(is_missing(text.as_bytes()), case["missing"].as_bool().unwrap(), "{text:?}");
        for reading in Reading::ALL {
            let (found, wanted) = (reading.of(text.as_bytes()), &case["said"][reading.name()]);
            let same = match found {
                None => wanted.is_null(),
                Some(Said::Number(number)) => wanted.as_f64().map(f64::to_bits) == Some(number.to_bits()),
                Some(Said::Days(days)) => wanted.as_i64() == Some(i64::from(days)),
                Some(Said::Microseconds(moment)) => wanted.as_i64() == Some(moment),
            };
            assert!(same, "{text:?} as {}: {found:?}, and {wanted} in Python", reading.name());
        }
    }
}

#[test]
fn columns_are_read_as_in_python() {
    for case in corpus("polls") {
        let texts: Vec<&str> = case["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        let mut poll = Poll::default();
        texts.iter().for_each(|text| poll.add(text.as_bytes()));
        let found = match poll.choose() {
            Chosen::None => None,
            Chosen::Ambiguous => Some("ambiguous"),
            Chosen::Reading(reading) => Some(reading.name()),
        };
        assert_eq!(found, case["chosen"].as_str(), "{texts:?}");
        let mut early = Poll::default();
        let hopeless = texts.iter().any(|text| {
            early.add(text.as_bytes());
            early.is_hopeless(texts.len())
        });
        assert!(!hopeless || found.is_none(), "{texts:?}");
    }
}

#[test]
fn bytes_that_are_no_characters_say_nothing() {
    for text in [&b"\xff"[..], b"1\xa0234", b"5\xc2", b"\xe2\x80", b"2004-03-10\xff"] {
        assert!(Reading::ALL.iter().all(|reading| reading.of(text).is_none()) && !is_missing(text), "{text:?}");
    }
}
