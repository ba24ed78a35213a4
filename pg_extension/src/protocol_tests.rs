use std::collections::BTreeSet;

use serde_json::{json, Value};

use super::*;
use crate::reader::columns::{Column, Form, IdValues, Table, Values};
use crate::reader::layout::move_to;
use crate::reader::Kind;

#[test]
fn numbers_and_depths_that_do_not_fit_are_no_events() {
    for line in [
        r#"{"event":"ready","seconds":1e400,"device":"cpu"}"#.to_owned(),
        r#"{"event":"model","architecture":"8","which":0,"length":-1}"#.to_owned(),
        r#"{"event":"checkpoint","rung":3000000000,"which":0,"length":1}"#.to_owned(),
        format!(r#"{{"event":"alive","deep":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)),
    ] {
        assert!(serde_json::from_str::<Event>(&line).is_err(), "{}", &line[..40]);
    }
}

#[test]
fn events_are_told_apart_by_name_and_may_carry_more() {
    let event: Event = serde_json::from_str(r#"{"event":"ready","seconds":1.5,"device":"cpu","new":1}"#).unwrap();
    assert_eq!(event, Event::Ready { seconds: 1.5, device: "cpu".into() });
    let event: Event = serde_json::from_str(
        r#"{"event":"epoch","architecture":"8-8","rung":0,"epoch":1,"train_loss":null,"validation_loss":null,"validation_metric":0.5,"seconds":1}"#,
    )
    .unwrap();
    assert!(matches!(event, Event::Epoch(Epoch { validation_metric: Some(a), .. }) if a == 0.5));
    let event: Event = serde_json::from_str(r#"{"event":"alive","at":1.5}"#).unwrap();
    assert_eq!(event, Event::Alive {});
    assert!(serde_json::from_str::<Event>(r#"{"event":"unknown"}"#).is_err());
}

const MESSAGES: &str = include_str!("../../tests/protocol/messages.json");

/// All requests or all events of the file, by name.
fn messages(kind: &str, tag: &str) -> Vec<(String, Value)> {
    let all: Value = serde_json::from_str(MESSAGES).unwrap();
    let named = |message: &Value| (message[tag].as_str().unwrap().to_owned(), message.clone());
    all[kind].as_array().unwrap().iter().map(named).collect()
}

#[test]
fn every_event_is_read_and_nothing_of_it_is_lost() {
    let messages = messages("events", "event");
    for (name, message) in &messages {
        let event: Event = serde_json::from_value(message.clone()).unwrap();
        assert_eq!(serde_json::to_value(event).unwrap(), *message, "{name}");
    }
    // Serde names those that there are.
    let unknown = serde_json::from_str::<Event>(r#"{"event":"?"}"#).unwrap_err().to_string();
    let known: BTreeSet<&str> = unknown.split('`').skip(3).step_by(2).collect();
    assert_eq!(known, messages.iter().map(|(name, _)| name.as_str()).collect());
}

/// The tables of the file, written as they are for the process.
fn layouts() -> [TableLayout; 2] {
    let mut city = Column::new("city", Kind::Text);
    if let Values::Text { hashes, texts } = &mut city.values {
        hashes.extend([3, 4, 3, 3, 4]);
        texts.hashes.extend([3, 4]);
        texts.ends.extend([4, 8]);
        texts.bytes.extend(b"BernRome");
    }
    let ids = IdValues { ids: vec![1, 2, 0, 4, 5], values: Some(vec![1.0, 0.5, 0.0, 1.0, 1.0]) };
    let column = |name: &str, values, nulls| Column { name: name.to_owned(), values, nulls, form: Form::AsItIs };
    let label = |values| column("label", Values::Int32(values), None);
    let train = vec![label(vec![0, 1, 0, 1, 1]), column("user", Values::IdValue(ids), Some(vec![0, 0, 1, 0, 0])), city];
    [(5, 5, train), (6, 0, vec![label(Vec::new())])].map(|(descriptor, rows, columns)| {
        let file = crate::child::memory_file("trails-test").unwrap();
        move_to(Table { rows, columns, ..Table::default() }, &file, descriptor, || {}).unwrap()
    })
}

#[test]
fn every_request_is_written_with_every_field() {
    let [train, held] = layouts();
    let none = json!({});
    let full = RowsRequest {
        target: "label",
        seed: -7,
        started: 1000.5,
        budget: Some(60.0),
        deadline: Some(1060.25),
        device: "cuda:0",
        threads: 3,
        memory_limit: 1 << 20,
        ray_address: Some("head:10001"),
        ray_gpus: 0.5,
        checkpoints: [7, 8],
        models: Some([9, 10]),
        task: Some("binary"),
        split: Some("part"),
        group_by: Some("customer"),
        time_by: Some("day"),
        weight: Some("exposure"),
        aside: &["part", "exposure"],
        metric: Some("log_loss"),
        options: &json!({"dropout": 0.25, "max_epochs": 9}),
        train: &train,
        validation: Some(&held),
    };
    let bare = RowsRequest {
        target: "label",
        seed: 1,
        started: 1000.5,
        budget: None,
        deadline: None,
        device: "auto",
        threads: 0,
        memory_limit: 0,
        ray_address: None,
        ray_gpus: 0.0,
        checkpoints: [7, 8],
        models: None,
        task: None,
        split: None,
        group_by: None,
        time_by: None,
        weight: None,
        aside: &[],
        metric: None,
        options: &none,
        train: &held,
        validation: None,
    };
    let refine = RefineRequest {
        space: "mlp4x20",
        refinement: "hyperband",
        k: Some(2),
        u: Some(1),
        options: &json!({"eta": 2}),
        score_seconds: 0.25,
        scored: 160_000,
        candidates: &[("8-8-8-8", Some(1.5)), ("16-8-8-8", None)],
        resume: Some(Resume { fd: 11, length: 4096 }),
    };
    let free = RefineRequest {
        space: "mlp4x20",
        refinement: "sh",
        k: None,
        u: None,
        options: &none,
        score_seconds: 0.0,
        scored: 0,
        candidates: &[("8-8-8-8", None)],
        resume: None,
    };
    let profile =
        ProfileRequest { space: "mlp4x20", architectures: &["8-8-8-8", "16-8-8-8"], options: &json!({"batch": 512}) };
    let place = |offset, length, shape: &[i32], label, row: &str| PictureLayout {
        offset,
        length,
        shape: shape.to_vec(),
        label,
        row: row.to_owned(),
    };
    let drawn = vec![place(0, 384, &[3, 8, 8], 9, "2 (id = 7)"), place(384, 384, &[192], 0, "3")];
    let arrays = PicturesLayout { fd: 6, form: "int16", classes: 10, drawn };
    let bytes = PicturesLayout { fd: 6, form: "bytes", classes: 2, drawn: vec![place(0, 700, &[], 1, "1")] };
    let column = "column \"image\" of public.pictures";
    let cells = CellsRequest {
        filtering: CellsAsked {
            space: "nasbench201",
            tfmem: "naswot+synflow",
            n: Some(20),
            k: Some(5),
            batch_size: 16,
            seed: -7,
            sampler: Some("random"),
        },
        deadline: Some(1060.25),
        threads: 2,
        memory_limit: 1 << 20,
        column,
        pictures: &arrays,
    };
    let bare_cells = CellsRequest {
        filtering: CellsAsked {
            space: "nasbench101",
            tfmem: "zen",
            n: None,
            k: None,
            batch_size: 32,
            seed: 1,
            sampler: None,
        },
        deadline: None,
        threads: 0,
        memory_limit: 0,
        column,
        pictures: &bytes,
    };
    let written = [
        Request::Rows(full),
        Request::Rows(bare),
        Request::Refine(refine),
        Request::Refine(free),
        Request::Profile(profile),
        Request::Cells(cells),
        Request::Cells(bare_cells),
    ]
    .map(|request| serde_json::to_value(request).unwrap());
    let told: Vec<Value> = messages("requests", "request").into_iter().map(|(_, message)| message).collect();
    assert_eq!(written.to_vec(), told);
}
