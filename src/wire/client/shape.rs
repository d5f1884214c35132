//! How an object is read when anything may stand in its place: known members go into fields, unknown ones are skipped,
//! of equal names the last counts, and a value of another kind is remembered as such instead of ending the reading of
//! the whole frame. One pass, no recursion.

use std::marker::PhantomData;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::scalar::ITEMS_MAX;

/// A set of optional members that an object is read into, one after the other.
pub trait Fields<'de>: Default {
    type Key: Copy;

    /// `None` for a member that is ignored.
    fn key(name: &str) -> Option<Self::Key>;

    /// Reads the value of a member into its place, where a later one takes over from an earlier one.
    fn read<A: MapAccess<'de>>(&mut self, key: Self::Key, map: &mut A) -> Result<(), A::Error>;
}

/// Members are spelled like the fields they are kept in.
macro_rules! fields {
    ($type:ident $key:ident: $($field:ident $variant:ident)*) => {
        #[derive(Clone, Copy)]
        enum $key { $($variant,)* }

        impl<'de> Fields<'de> for $type<'de> {
            type Key = $key;

            fn key(name: &str) -> Option<$key> {
                match name {
                    $(stringify!($field) => Some($key::$variant),)*
                    _ => None,
                }
            }

            fn read<A: MapAccess<'de>>(&mut self, key: $key, map: &mut A) -> Result<(), A::Error> {
                match key {
                    $($key::$variant => self.$field = Some(map.next_value()?),)*
                }
                Ok(())
            }
        }
    };
}
pub(super) use fields;

/// An object of known members, or what stood in its place.
pub enum Slot<T> {
    Object(T),
    Other(&'static str),
}

/// An array of such, or what stood in its place. After the first element that is no object, and after one more than are
/// allowed, nothing is kept: one fault is enough for an answer.
pub enum List<T> {
    Array(Vec<Slot<T>>),
    Other(&'static str),
}

/// A value that is an array, an object or something else.
trait Shape<'de>: Sized {
    fn object<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error>;
    fn array<A: SeqAccess<'de>>(seq: A) -> Result<Self, A::Error>;
    fn other(kind: &'static str) -> Self;
}

impl<'de, T: Fields<'de>> Shape<'de> for Slot<T> {
    fn object<A: MapAccess<'de>>(mut map: A) -> Result<Slot<T>, A::Error> {
        let mut fields = T::default();
        while let Some(key) = map.next_key_seed(KeyOf(PhantomData::<T>))? {
            match key {
                Some(key) => fields.read(key, &mut map)?,
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(Slot::Object(fields))
    }

    fn array<A: SeqAccess<'de>>(mut seq: A) -> Result<Slot<T>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Slot::Other("an array"))
    }

    fn other(kind: &'static str) -> Slot<T> {
        Slot::Other(kind)
    }
}

impl<'de, T: Fields<'de>> Shape<'de> for List<T> {
    fn object<A: MapAccess<'de>>(mut map: A) -> Result<List<T>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(List::Other("an object"))
    }

    fn array<A: SeqAccess<'de>>(mut seq: A) -> Result<List<T>, A::Error> {
        let mut slots = Vec::new();
        while let Some(slot) = seq.next_element::<Slot<T>>()? {
            let is_object = matches!(slot, Slot::Object(_));
            slots.push(slot);
            if !is_object || slots.len() > ITEMS_MAX {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
            }
        }
        Ok(List::Array(slots))
    }

    fn other(kind: &'static str) -> List<T> {
        List::Other(kind)
    }
}

impl<'de, T: Fields<'de>> Deserialize<'de> for Slot<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor(PhantomData))
    }
}

impl<'de, T: Fields<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor(PhantomData))
    }
}

struct ShapeVisitor<T>(PhantomData<T>);

impl<'de, T: Shape<'de>> Visitor<'de> for ShapeVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::object(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<T, A::Error> {
        T::array(seq)
    }

    fn visit_str<E>(self, _: &str) -> Result<T, E> {
        Ok(T::other("a string"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::other("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<T, E> {
        Ok(T::other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::other("a number"))
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::other("null"))
    }
}

/// Recognises a member by its name, without keeping the name.
struct KeyOf<T>(PhantomData<T>);

impl<'de, T: Fields<'de>> DeserializeSeed<'de> for KeyOf<T> {
    type Value = Option<T::Key>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, T: Fields<'de>> Visitor<'de> for KeyOf<T> {
    type Value = Option<T::Key>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(T::key(name))
    }
}
