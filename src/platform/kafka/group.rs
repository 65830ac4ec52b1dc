//! What the brokers know of the group.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};

use crate::platform::config::kafka::KafkaSettings;

/// Whether the group has settled and leaves partitions of the topic without a reader; nothing where
/// the brokers do not say. Blocks as long as `patience`, twice.
pub(super) fn leaves_partitions<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    settings: &KafkaSettings,
    patience: Duration,
) -> Option<bool> {
    let metadata = consumer.fetch_metadata(Some(&settings.topic), patience).ok()?;
    let topic = metadata.topics().first().filter(|topic| topic.error().is_none())?;
    let list = consumer.fetch_group_list(Some(&settings.group_id), patience).ok()?;
    let group = list.groups().first().filter(|group| group.state() == "Stable")?;
    let mut read = 0;
    for member in group.members() {
        read += partitions(member.assignment().unwrap_or_default(), &settings.topic)?;
    }
    Some(read < topic.partitions().len())
}

/// How many partitions of `topic` an assignment names. (Kafka's protocol: a version, then for each topic
/// its name and the numbers.)
fn partitions(assignment: &[u8], topic: &str) -> Option<usize> {
    if assignment.is_empty() {
        return Some(0);
    }
    let (_version, mut rest) = assignment.split_at_checked(2)?;
    let mut found = 0;
    for _ in 0..length(&mut rest)? {
        let (size, behind) = rest.split_first_chunk()?;
        let (name, behind) = behind.split_at_checked(u16::from_be_bytes(*size).into())?;
        rest = behind;
        let count = length(&mut rest)?;
        rest = rest.get(count.checked_mul(4)?..)?;
        if name == topic.as_bytes() {
            found += count;
        }
    }
    Some(found)
}

fn length(rest: &mut &[u8]) -> Option<usize> {
    let (size, behind) = rest.split_first_chunk()?;
    *rest = behind;
    usize::try_from(i32::from_be_bytes(*size)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_the_topic_are_counted() {
        let two_topics =
            b"\0\x01\0\0\0\x02\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x03\0\x01u\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";
        assert_eq!(partitions(two_topics, "t"), Some(2));
        assert_eq!(partitions(two_topics, "u"), Some(1));
        assert_eq!(partitions(two_topics, "v"), Some(0));
        assert_eq!(partitions(b"", "t"), Some(0));
        for end in 1..27 {
            assert_eq!(partitions(&two_topics[..end], "t"), None, "{end} bytes");
        }
        assert_eq!(partitions(b"\0\x01\xff\xff\xff\xff", "t"), None);
        assert_eq!(partitions(b"\0\x01\x7f\xff\xff\xff\0\0\x7f\xff\xff\xff", "t"), None);
    }
}
