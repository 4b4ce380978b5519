//! What was recorded has to be there; more may be there too.

use serde_json::{Map, Value};

use super::Outcome;

/// Compares on recorded keys, but for the case's volatile ones.
pub(super) fn compare(got: &Value, wanted: &Value, case: &Value) -> Outcome {
    let wanted = without_volatile(wanted.clone(), case);
    match difference("", got, &wanted) {
        None => Outcome::Passed,
        Some(place) => Outcome::Failed(format!("{place}\n    got    {got}\n    wanted {wanted}")),
    }
}

/// Where the two differ first, as a JSON pointer.
fn difference(place: &str, got: &Value, wanted: &Value) -> Option<String> {
    match (got, wanted) {
        (Value::Object(got), Value::Object(wanted)) => wanted.iter().find_map(|(key, wanted)| {
            let place = format!("{place}/{key}");
            match got.get(key) {
                Some(got) => difference(&place, got, wanted),
                None => Some(format!("{place} is missing")),
            }
        }),
        (Value::Array(got), Value::Array(wanted)) if got.len() == wanted.len() => {
            let pairs = got.iter().zip(wanted).enumerate();
            pairs
                .map(|(at, (got, wanted))| difference(&format!("{place}/{at}"), got, wanted))
                .find_map(|found| found)
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        _ if got == wanted => None,
        _ => Some(format!("{place}: {got} is not {wanted}")),
    }
}

fn without_volatile(mut value: Value, case: &Value) -> Value {
    let pointers =
        case.get("volatile").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for pointer in pointers {
        let Some((parent, key)) = pointer.rsplit_once('/') else { continue };
        if let Some(object) = value.pointer_mut(parent).and_then(Value::as_object_mut) {
            remove(object, key);
        }
    }
    value
}

fn remove(object: &mut Map<String, Value>, key: &str) {
    object.shift_remove(key);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Outcome, compare};

    #[test]
    fn recorded_keys_count_and_others_do_not() {
        let case = json!({"volatile": ["/pid", "/d/x"]});
        let same = |got, wanted| compare(&got, &wanted, &case) == Outcome::Passed;
        assert!(same(json!({"a": 1, "b": {"c": [1.0]}}), json!({"b": {"c": [1]}, "pid": 7})));
        assert!(same(json!({"d": {}}), json!({"d": {"x": 1}})));
        assert!(!same(json!({"a": 1}), json!({"a": 1, "b": null})));
        assert!(!same(json!([1, 2]), json!([1])));
        assert!(!same(json!({"a": "1"}), json!({"a": 1})));
    }
}
