//! As much of JSON Schema (2020-12) as the API's schemas use, and strict: a property that no schema names is a fault.

use dataproxy_router_api::RegistryName;
use serde_json::Value;

/// What a schema may say; anything else would be left unchecked here.
const KNOWN: [&str; 12] = [
    "$ref",
    "additionalProperties",
    "description",
    "enum",
    "examples",
    "items",
    "maxLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
];

/// What is wrong with `value`, one sentence each.
pub(super) fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(document, schema, value, "$", &mut faults);
    faults
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    for keyword in schema.as_object().unwrap().keys() {
        assert!(KNOWN.contains(&keyword.as_str()), "{keyword} is not checked");
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let found = document.pointer(reference.trim_start_matches('#'));
        return check(
            document,
            found.unwrap_or_else(|| panic!("{reference} leads nowhere")),
            value,
            at,
            faults,
        );
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().map(|kind| kind.as_str().unwrap()).collect(),
        kind => vec![kind.as_str().unwrap_or_else(|| panic!("{at} has no type: {schema}"))],
    };
    if !types.iter().any(|kind| is(kind, value)) {
        return faults.push(format!("{at} is {value}, and not {types:?}"));
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        faults.push(format!("{at} is {value}, and not one of {allowed:?}"));
    }
    if schema["minimum"].as_i64().zip(value.as_i64()).is_some_and(|(least, value)| value < least) {
        faults.push(format!("{at} is {value}"));
    }
    // There is one pattern: that of a name.
    if let Some(text) = value.as_str().filter(|_| !schema["pattern"].is_null())
        && text.parse::<RegistryName>().is_err()
    {
        faults.push(format!("{at} is {text:?}, and no name"));
    }
    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
        check(document, &schema["items"], item, &format!("{at}[{place}]"), faults);
    }
    let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object()) else {
        return;
    };
    for required in schema["required"].as_array().unwrap() {
        if !fields.contains_key(required.as_str().unwrap()) {
            faults.push(format!("{at} lacks {required}"));
        }
    }
    for (name, value) in fields {
        match properties.get(name) {
            Some(schema) => check(document, schema, value, &format!("{at}.{name}"), faults),
            None => faults.push(format!("{at}.{name} is in no schema")),
        }
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    }
}

#[test]
fn a_value_that_a_schema_does_not_describe_has_its_faults_named() {
    use serde_json::json;
    let document = json!({"parts": {"name": {"type": "string", "pattern": "x"}}});
    let schema = json!({"type": "object", "required": ["a"], "properties": {
        "a": {"$ref": "#/parts/name"}, "b": {"type": ["integer", "null"], "minimum": 0},
        "c": {"type": "array", "items": {"type": "string", "enum": ["x"]}},
    }});
    assert_eq!(faults(&document, &schema, &json!({"a": "contoso", "b": null, "c": ["x"]})), [""; 0]);
    for (value, fault) in [
        (json!([]), "$ is []"),
        (json!({"b": 1}), "$ lacks \"a\""),
        (json!({"a": "A"}), "no name"),
        (json!({"a": "a", "b": -1}), "$.b is -1"),
        (json!({"a": "a", "c": ["y"]}), "$.c[0] is \"y\", and not one of"),
        (json!({"a": "a", "d": 1}), "$.d is in no schema"),
    ] {
        let found = faults(&document, &schema, &value);
        assert!(found.len() == 1 && found[0].contains(fault), "{value}: {found:?}");
    }
}
