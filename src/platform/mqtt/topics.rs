//! Topics with a name in them: `cabinets/{cabinet_id}/commands`.

/// A topic in which one whole level is somebody's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicTemplate {
    before: String,
    after: String,
}

/// Longest id.
const MAX_ID: usize = 128;
/// Longest topic, in bytes.
const MAX_TOPIC: usize = 65_535;

impl TopicTemplate {
    /// Reads a template in which `placeholder` (`{cabinet_id}`) stands once, as a level of its own.
    ///
    /// # Errors
    /// What is wrong with it, for a fault of the configuration.
    pub fn parse(text: &str, placeholder: &str) -> Result<Self, String> {
        let Some((before, after)) = text.split_once(placeholder) else {
            return Err(format!("must hold {placeholder}"));
        };
        if after.contains(placeholder) {
            return Err(format!("must hold {placeholder} once"));
        }
        let whole_level = (before.is_empty() || before.ends_with('/'))
            && (after.is_empty() || after.starts_with('/'));
        if !whole_level {
            return Err(format!("{placeholder} must be a whole level, between slashes"));
        }
        let refused = |c: char| matches!(c, '+' | '#' | '{' | '}') || c.is_control();
        if text.replace(placeholder, "").contains(refused) {
            return Err("must not hold +, #, braces or control characters".to_owned());
        }
        if text.len() + MAX_ID > MAX_TOPIC {
            return Err("is too long".to_owned());
        }
        Ok(Self { before: before.to_owned(), after: after.to_owned() })
    }

    /// The topic of one id; nothing when [`TopicTemplate::is_id`] refuses it.
    #[must_use]
    pub fn topic(&self, id: &str) -> Option<String> {
        Self::is_id(id).then(|| format!("{}{id}{}", self.before, self.after))
    }

    /// What to subscribe to for the topics of all ids.
    #[must_use]
    pub fn filter(&self) -> String {
        format!("{}+{}", self.before, self.after)
    }

    /// The id in a topic; nothing when the topic is another or the id is none.
    #[must_use]
    pub fn id_of<'t>(&self, topic: &'t str) -> Option<&'t str> {
        let id = topic.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        Self::is_id(id).then_some(id)
    }

    /// Whether a text can be an id: 1 to 128 letters, digits and `- _ . :` of ASCII. What would be a
    /// level, a wildcard or a system topic of its own (`/ + # $`) cannot, nor what logs and URLs
    /// would have to escape.
    #[must_use]
    pub fn is_id(text: &str) -> bool {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        (1..=MAX_ID).contains(&text.len()) && text.chars().all(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> TopicTemplate {
        TopicTemplate::parse(text, "{cabinet_id}").unwrap()
    }

    #[test]
    fn a_template_makes_topics_and_finds_their_ids() {
        for text in ["cabinets/{cabinet_id}/events", "$devices/{cabinet_id}/events", "{cabinet_id}"]
        {
            let template = template(text);
            let topic = template.topic("cab-1.a:B_2").unwrap();
            assert_eq!(topic, text.replace("{cabinet_id}", "cab-1.a:B_2"));
            assert_eq!(template.id_of(&topic), Some("cab-1.a:B_2"));
            assert_eq!(template.filter(), text.replace("{cabinet_id}", "+"));
        }
    }

    #[test]
    fn another_topic_has_no_id() {
        let template = template("cabinets/{cabinet_id}/events");
        for topic in [
            "cabinets/a/commands",
            "cabinets/a/b/events",
            "cabinets//events",
            "cabinets/events",
            "cabinets/a/events/",
            "/cabinets/a/events",
            "Cabinets/a/events",
            "",
        ] {
            assert_eq!(template.id_of(topic), None, "{topic}");
        }
    }

    #[test]
    fn an_id_cannot_leave_its_level() {
        let long = "a".repeat(129);
        for id in ["", "a/b", "+", "#", "a+", "$SYS", "a b", "a\0", "a\n", "ё", "..%2f", &long] {
            assert!(!TopicTemplate::is_id(id), "{id:?}");
            assert_eq!(template("c/{cabinet_id}").topic(id), None, "{id:?}");
        }
        assert!(TopicTemplate::is_id(&long[1..]));
    }

    #[test]
    fn a_wrong_template_is_refused() {
        for text in [
            "",
            "cabinets/events",
            "cabinets/{cabinet_id}/{cabinet_id}",
            "cabinets/c-{cabinet_id}/events",
            "cabinets/{cabinet_id}s",
            "+/{cabinet_id}",
            "{cabinet_id}/#",
            "{park}/{cabinet_id}",
            "a\0/{cabinet_id}",
        ] {
            assert!(TopicTemplate::parse(text, "{cabinet_id}").is_err(), "{text:?}");
        }
    }
}
