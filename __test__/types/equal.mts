/** Whether two types are the same, including `any` and optional keys. */
export type Equal<A, B> = (<T>() => T extends Flat<A> ? 1 : 2) extends <T>() => T extends Flat<B> ? 1 : 2 ? true : false;

// An intersection or an interface as a plain object type.
type Flat<T> = T extends (...args: never) => unknown ? T : T extends object ? { [Key in keyof T]: T[Key] } : T;

/** Does not compile unless its argument is `true`. */
export type Expect<T extends true> = T;
