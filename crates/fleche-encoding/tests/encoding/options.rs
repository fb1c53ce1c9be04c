//! `Option`: pins its bytes, and checks that different values encode differently.

use serde::{Deserialize, Serialize};

use crate::common::pins;
use fleche_encoding::{DecodeErrorKind, from_slice};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapper<T>(T);

#[test]
fn none_is_null_and_some_is_its_content() {
    pins(None::<u8>, "f6");
    pins(Some(1u8), "01");
    pins(Some("x".to_owned()), "6178");
    pins(Some(vec![1u8, 2]), "d840 42 0102");
    pins(Some(Some(1u8)), "01");
}

#[test]
fn some_around_what_looks_like_none_is_wrapped() {
    pins(Some(None::<u8>), "da666c6368 f6");
    pins(Some(()), "da666c6368 f6");
    pins(Some(Unit), "da666c6368 f6");
    pins(Some(Wrapper(())), "da666c6368 f6");
    pins(Some(Wrapper(Unit)), "da666c6368 f6");
    pins(Some(serde_json::Value::Null), "da666c6368 f6");
}

#[test]
fn some_around_a_wrap_is_wrapped_again() {
    pins(None::<Option<Option<u8>>>, "f6");
    pins(Some(None::<Option<u8>>), "da666c6368 f6");
    pins(Some(Some(None::<u8>)), "da666c6368 da666c6368 f6");
    pins(Some(Some(Some(()))), "da666c6368 da666c6368 da666c6368 f6");
    pins(Some(Some(Some(1u8))), "01");
    pins(Some(Wrapper(Some(Unit))), "da666c6368 da666c6368 f6");
}

#[test]
fn wraps_occur_inside_every_container() {
    pins(vec![Some(None), None, Some(Some(1u8))], "83 da666c6368f6 f6 01");
    pins((Some(()), 5u8), "82 da666c6368f6 05");
    pins(std::collections::BTreeMap::from([(Some(()), Some(()))]), "a1 da666c6368f6 da666c6368f6");
    pins(Ok::<_, ()>(Some(())), "a1 624f6b da666c6368f6");
}

#[test]
fn needless_wrap_is_refused() {
    let error = from_slice::<Option<u8>>(&[0xda, 0x66, 0x6c, 0x63, 0x68, 0x01]).unwrap_err();
    assert_eq!(error.kind(), &DecodeErrorKind::NeedlessWrap);
}

#[test]
fn nested_options_count_towards_the_nesting_limit() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Chain(Option<Box<Chain>>);
    let chain = |length| (0..length).fold(Chain(None), |chain, _| Chain(Some(Box::new(chain))));
    let longest = chain(128);
    let encoded = fleche_encoding::to_vec(&longest).unwrap();
    assert_eq!(from_slice::<Chain>(&encoded).unwrap(), longest);
    assert!(fleche_encoding::to_vec(&chain(129)).is_err());
    let mut deeper = vec![0xda, 0x66, 0x6c, 0x63, 0x68];
    deeper.extend(&encoded);
    assert_eq!(from_slice::<Chain>(&deeper).unwrap_err().kind(), &DecodeErrorKind::TooDeep);
    assert_eq!(from_slice::<Chain>(&[0x05]).unwrap_err().kind(), &DecodeErrorKind::TooDeep);
    assert_eq!(from_slice::<Vec<Chain>>(&[0xd8, 64, 0x42, 1, 2]).unwrap_err().kind(), &DecodeErrorKind::TooDeep);
}
