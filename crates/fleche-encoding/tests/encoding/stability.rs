//! The check for values without a stable encoding.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
};

use fleche_encoding::{
    stability::{Unstable, check},
    to_vec,
};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Multiplies like the hasher of rustc, so that small integers collide in small tables, in the same way each time.
#[derive(Default)]
struct FixedHasher(u64);

impl Hasher for FixedHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x51_7c_c1_b7_27_22_0a_95);
    }
}

type FixedMap<K, V> = HashMap<K, V, BuildHasherDefault<FixedHasher>>;

fn outcome<T: Serialize + DeserializeOwned>(value: &T) -> Result<T, Unstable> {
    check(&to_vec(value).unwrap())
}

#[track_caller]
fn assert_order_follows<T: Serialize + DeserializeOwned>(value: &T) {
    assert!(matches!(outcome(value), Err(Unstable::OrderFollows)));
}

#[test]
fn index_map_is_reported() {
    for count in 2..20u32 {
        assert_order_follows(&(0..count).map(|i| (i * 7 % 20, i)).collect::<IndexMap<u32, u32>>());
    }
}

#[test]
fn index_map_inside_other_values_is_reported() {
    let map = IndexMap::from([("b".to_owned(), 1u8), ("a".to_owned(), 2)]);
    assert_order_follows(&HashMap::from([(1u8, map.clone()), (2, IndexMap::new())]));
    assert_order_follows(&vec![map.clone(); 300]);
    assert_order_follows(&(0..300u16).map(|i| IndexMap::from([(i, i), (i + 1, i)])).collect::<Vec<_>>());
    assert_order_follows(&Some((1u8, [map])));
}

#[test]
fn index_map_among_many_hash_maps_is_reported() {
    let hash_maps: Vec<_> = (0..200u16).map(|i| HashMap::from([(i, i), (i + 1, i)])).collect();
    assert_order_follows(&(hash_maps, IndexMap::from([("a".to_owned(), 1u8), ("b".to_owned(), 2)])));
}

#[test]
fn index_map_of_one_entry_passes() {
    assert!(outcome(&IndexMap::from([(1u8, 2u8)])).is_ok());
}

#[test]
fn hash_maps_pass() {
    for count in 1..50u32 {
        for _ in 0..40 {
            let map: HashMap<u32, String> = (0..count).map(|i| (i, i.to_string())).collect();
            assert_eq!(outcome(&map).unwrap(), map);
        }
    }
}

#[test]
fn many_small_hash_maps_pass() {
    for _ in 0..20 {
        let same = vec![HashMap::from([(1u8, 1u8), (2, 2)]); 100];
        assert_eq!(outcome(&same).unwrap(), same);
        let different: Vec<_> = (0..100u16).map(|i| HashMap::from([(i, i), (i + 1, i)])).collect();
        assert_eq!(outcome(&different).unwrap(), different);
    }
}

#[test]
fn hash_maps_with_a_fixed_hasher_pass() {
    for count in 2..=50u64 {
        for step in [1, 2, 3, 8, 16, 64, 100] {
            let map: FixedMap<u64, u64> = (0..count).map(|i| (i * step, i)).collect();
            assert_eq!(outcome(&map).unwrap(), map, "{count} keys, {step} apart");
        }
    }
}

#[test]
fn many_colliding_maps_pass() {
    let maps: Vec<FixedMap<u64, u64>> =
        (0..400).map(|i| FixedMap::from_iter([(i * 64, i), (i * 64 + 128, i), (i * 64 + 256, i)])).collect();
    assert_eq!(outcome(&maps).unwrap(), maps);
}

#[test]
fn tree_maps_pass() {
    for count in 0..50u32 {
        let map: BTreeMap<u32, u32> = (0..count).map(|i| (i, i)).collect();
        assert_eq!(outcome(&map).unwrap(), map);
    }
}

#[test]
fn structs_pass_in_any_order_of_fields() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Ascending {
        a: u8,
        b: u8,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Descending {
        z: Ascending,
        y: u8,
        x: (u8, u8),
    }
    let value = vec![Descending { z: Ascending { a: 1, b: 2 }, y: 3, x: (4, 5) }];
    assert_eq!(outcome(&value).unwrap(), value);
}

#[test]
fn hash_set_is_reported() {
    for count in 8..40u32 {
        assert!(matches!(outcome(&(0..count).collect::<HashSet<u32>>()), Err(Unstable::BytesDiffer)));
    }
}

#[test]
fn hash_set_in_a_struct_is_reported() {
    #[derive(Serialize, Deserialize)]
    struct Holder {
        names: HashSet<String>,
    }
    let names = (0..8).map(|i| i.to_string()).collect();
    assert!(matches!(outcome(&Holder { names }), Err(Unstable::BytesDiffer)));
}

#[test]
fn marked_collections_pass_unchanged() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Marked {
        #[serde(with = "fleche_encoding::ordered")]
        steps: IndexMap<String, u8>,
        #[serde(with = "fleche_encoding::unordered")]
        names: HashSet<String>,
        #[serde(with = "fleche_encoding::unordered")]
        ids: HashSet<u32>,
    }
    for _ in 0..20 {
        let value = Marked {
            steps: IndexMap::from([("b".to_owned(), 1), ("a".to_owned(), 2), ("c".to_owned(), 0)]),
            names: (0..8).map(|i| i.to_string()).collect(),
            ids: (0..30).collect(),
        };
        let back = outcome(&value).unwrap();
        assert!(back.steps.iter().eq(value.steps.iter()));
        assert_eq!(back, value);
    }
}

#[test]
fn type_that_decodes_in_one_order_only_passes() {
    // The content comes before the tag when it is fed in reverse, and serde's buffer cannot hold the integer.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "k", content = "value")]
    enum Wide {
        Number(u128),
    }
    assert_eq!(outcome(&Wide::Number(u128::MAX)).unwrap(), Wide::Number(u128::MAX));
}

#[test]
fn value_that_cannot_be_decoded_is_reported() {
    #[derive(Serialize, Deserialize)]
    struct Skipping {
        #[serde(skip_serializing)]
        _needed: u8,
    }
    assert!(matches!(outcome(&Skipping { _needed: 1 }), Err(Unstable::Decode(_))));
}

#[test]
fn every_error_names_the_remedy() {
    let order = outcome(&IndexMap::from([(1u8, 2u8), (2, 3)])).unwrap_err().to_string();
    assert!(order.contains("fleche_core::ordered"), "{order}");
    let set = outcome(&(0..20u8).collect::<HashSet<u8>>()).unwrap_err().to_string();
    assert!(set.contains("fleche_core::unordered") && set.contains("BTreeSet"), "{set}");
}
