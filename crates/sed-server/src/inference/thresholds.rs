//! The parameter `category_thresholds`: a JSON object of category names and numbers.

use std::fmt;

use sed_proto::v1::{self, category_threshold};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

/// Thresholds in their order, a repeated name included, so that it is refused as elsewhere.
struct Object(Vec<v1::CategoryThreshold>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of names and numbers")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object, M::Error> {
        let mut thresholds = Vec::new();
        while let Some((name, threshold)) = map.next_entry()? {
            let category = Some(category_threshold::Category::Name(name));
            thresholds.push(v1::CategoryThreshold { category, threshold });
        }
        Ok(Object(thresholds))
    }
}

/// Reads the thresholds; `None` if the text is something else.
pub(super) fn read(text: &str) -> Option<Vec<v1::CategoryThreshold>> {
    serde_json::from_str::<Object>(text).ok().map(|object| object.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_with_their_numbers_as_often_as_they_are_written() {
        let found = |text| {
            let entry = |one: v1::CategoryThreshold| match one.category {
                Some(category_threshold::Category::Name(name)) => (name, one.threshold),
                other => panic!("{other:?}"),
            };
            read(text).map(|found| found.into_iter().map(entry).collect::<Vec<_>>())
        };
        let expected = vec![("sofa".into(), 0.4), ("a \"cow\"".into(), 1.0), ("sofa".into(), 0.5)];
        assert_eq!(found(r#"{"sofa": 0.4, "a \"cow\"": 1, "sofa": 0.5}"#), Some(expected));
        assert_eq!(found("{}"), Some(vec![]));
        for wrong in ["", "0.4", "[0.4]", r#"{"sofa": "0.4"}"#, r#"{"sofa": null}"#, r#"{"sofa": 0.4"#] {
            assert_eq!(found(wrong), None, "{wrong}");
        }
    }
}
