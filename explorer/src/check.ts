/** What comes from a file or a link is looked at before it is used. */

/** Gives what was found, cleaned; throws where it is something else. */
export type Check<T> = (value: unknown, path: string) => T;

export class Unfit extends Error {}

function refuse(path: string, expected: string): never {
  throw new Unfit(`${path || "the whole"} is not ${expected}`);
}

export const string =
  (most = 200_000): Check<string> =>
  (value, path) =>
    typeof value === "string" && value.length <= most ? value : refuse(path, "a text");

export const number =
  (low = -Infinity, high = Infinity): Check<number> =>
  (value, path) =>
    typeof value === "number" && !Number.isNaN(value) && value >= low && value <= high
      ? value
      : refuse(path, `a number from ${low} to ${high}`);

export const integer =
  (low = 0, high = 1_000_000): Check<number> =>
  (value, path) =>
    Number.isInteger(value) ? number(low, high)(value, path) : refuse(path, "a whole number");

/** JSON has no infinities: they come as null. */
export const measured: Check<number> = (value, path) => (value === null ? NaN : number()(value, path));

export const boolean: Check<boolean> = (value, path) =>
  typeof value === "boolean" ? value : refuse(path, "true or false");

export const one =
  <const T extends readonly (string | number)[]>(...allowed: T): Check<T[number]> =>
  (value, path) =>
    allowed.includes(value as T[number]) ? (value as T[number]) : refuse(path, allowed.join(" or "));

export const nullable =
  <T>(check: Check<T>): Check<T | null> =>
  (value, path) =>
    value === null ? null : check(value, path);

export const either =
  <A, B>(first: Check<A>, second: Check<B>): Check<A | B> =>
  (value, path) => {
    try {
      return first(value, path);
    } catch {
      return second(value, path);
    }
  };

export const list =
  <T>(check: Check<T>, most = 100_000): Check<T[]> =>
  (value, path) =>
    Array.isArray(value) && value.length <= most
      ? value.map((item, index) => check(item, `${path}[${index}]`))
      : refuse(path, "a list");

export const pair =
  <T>(check: Check<T>): Check<[T, T]> =>
  (value, path) => {
    const found = list(check, 2)(value, path);
    return found.length === 2 ? (found as [T, T]) : refuse(path, "two");
  };

type Fields = Record<string, Check<unknown>>;
type Found<F extends Fields> = { [K in keyof F]: ReturnType<F[K]> };

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** These fields, and no others are kept. */
export const object =
  <F extends Fields>(fields: F): Check<Found<F>> =>
  (value, path) => {
    if (!isObject(value)) return refuse(path, "an object");
    return Object.fromEntries(
      Object.entries(fields).map(([name, check]) => [name, check(value[name], path ? `${path}.${name}` : name)]),
    ) as Found<F>;
  };

/** Those of these fields that are there. */
export const partial =
  <F extends Fields>(fields: F): Check<Partial<Found<F>>> =>
  (value, path) => {
    if (!isObject(value)) return refuse(path, "an object");
    return Object.fromEntries(
      Object.entries(fields)
        .filter(([name]) => value[name] !== undefined)
        .map(([name, check]) => [name, check(value[name], path ? `${path}.${name}` : name)]),
    ) as Partial<Found<F>>;
  };

export const also =
  <A, B>(first: Check<A>, second: Check<B>): Check<A & B> =>
  (value, path) => ({ ...first(value, path), ...second(value, path) });

export const record =
  <T>(check: Check<T>): Check<Record<string, T>> =>
  (value, path) =>
    isObject(value)
      ? Object.fromEntries(Object.entries(value).map(([name, item]) => [name, check(item, `${path}.${name}`)]))
      : refuse(path, "an object");
