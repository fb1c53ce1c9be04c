//! Callables that can be bound and submitted: functions and closures of up to twelve arguments.

use std::any::TypeId;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    context::Binding,
    encoding::{self, DecodeError},
    engine::{Arguments, local_codec},
    function::{self, Function},
};

/// A callable that takes the arguments in the tuple `Args`: any `Fn` with as many parameters, or a [`Bound`](super::Bound) one.
///
/// Pass the function itself: a function pointer or a reference does not identify the function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called with the arguments `{Args}`",
    note = "arguments are a tuple, `(a,)` for a single one, and closure parameters need their types"
)]
pub trait Callable<Args>: Send + 'static {
    /// The return type.
    type Output;

    /// The function itself, without its binding if it is bound.
    #[doc(hidden)]
    type Inner: Callable<Args, Output = Self::Output>;

    /// Calls the function.
    fn call(&self, arguments: Args) -> Self::Output;

    /// Returns the context that the function is bound to, or `None` if it is not bound.
    fn binding(&self) -> Option<&Binding> {
        None
    }

    /// Returns this function, or `None` if it is not memoized.
    #[doc(hidden)]
    fn function(&self) -> Option<&'static Function> {
        function::by_type(TypeId::of::<Self>())
    }
}

/// A tuple of up to twelve arguments that can be submitted.
#[diagnostic::on_unimplemented(
    message = "the arguments `{Self}` cannot be submitted",
    label = "this must be a tuple, such as `(x,)`, of values that are `Serialize + DeserializeOwned + Send + 'static`",
    note = "if a parameter is a reference, bind the call and run it: `pool.run(f::bind(…))` in place of \
            `pool.submit(f, (…))`"
)]
pub trait ArgsTuple: Serialize + DeserializeOwned + Send + 'static {
    /// Adds the encoding of each argument for which `wanted` returns `true`.
    #[doc(hidden)]
    fn encode(&self, to: Arguments, wanted: impl Fn(usize) -> bool) -> Arguments;

    /// Decodes the arguments. Fails if their number differs.
    #[doc(hidden)]
    fn decode(encoded: &[&[u8]]) -> Result<Self, DecodeError>;
}

macro_rules! tuples {
    ($($name:ident $index:tt),*) => {
        impl<Function, Output, $($name),*> Callable<($($name,)*)> for Function
        where
            Function: Fn($($name),*) -> Output + Send + 'static,
        {
            type Output = Output;
            type Inner = Self;

            #[allow(non_snake_case, clippy::unused_unit)]
            fn call(&self, ($($name,)*): ($($name,)*)) -> Output {
                self($($name),*)
            }
        }

        #[diagnostic::do_not_recommend]
        impl<$($name),*> ArgsTuple for ($($name,)*)
        where
            $($name: Serialize + DeserializeOwned + Send + 'static,)*
        {
            #[allow(unused_variables, unused_mut)]
            fn encode(&self, to: Arguments, wanted: impl Fn(usize) -> bool) -> Arguments {
                let mut arguments = to;
                $(if wanted($index) {
                    arguments.add(local_codec(), &self.$index);
                })*
                arguments
            }

            #[allow(unused_variables, clippy::unused_unit)]
            fn decode(encoded: &[&[u8]]) -> Result<Self, DecodeError> {
                let wanted = <[&str]>::len(&[$(stringify!($name)),*]);
                if encoded.len() != wanted {
                    return Err(serde::de::Error::custom(format!("it takes {wanted} arguments, but {} were given", encoded.len())));
                }
                Ok(($(encoding::from_slice::<$name>(encoded[$index])?,)*))
            }
        }
    };
}

tuples!();
tuples!(A 0);
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
