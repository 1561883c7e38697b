/**
 * A description of a type that is left at run time, and the check by it.
 *
 * The engine traps without a word on a value that does not fit (a text that is `undefined`, an unknown tag), and cuts
 * numbers to size in silence. So every answer is looked at here first, and what is wrong becomes an error that says where.
 */

/** What a value must look like; the contract's are generated from the WIT files. */
export type Shape =
    | "bool" | "string" | "bytes" | "u8" | "u16" | "u32" | "u64" | "s16" | "s32"
    | { list: Shape }
    | { option: Shape }
    | { tuple: Shape[] }
    | { record: { [field: string]: Shape } }
    | { variant: { [tag: string]: Shape | null } };

/** Bounds of the numbers; beyond 2^53 a JavaScript number is not exact. */
const BOUNDS: { [number: string]: [number, number] } = {
    u8: [0, 255],
    u16: [0, 65535],
    u32: [0, 4294967295],
    u64: [0, Number.MAX_SAFE_INTEGER * 2048],
    s16: [-32768, 32767],
    s32: [-2147483648, 2147483647],
};

/** What is wrong with a value, as a path and a sentence (`.reason is undefined, must be a text`); null when nothing. */
export function flaw(value: unknown, shape: Shape): string | null {
    if (typeof shape === "string") return simple(value, shape);
    if ("option" in shape) return value == null ? null : flaw(value, shape.option);
    if ("list" in shape) {
        if (!Array.isArray(value)) return ` is ${show(value)}, must be a list`;
        return each(value, () => shape.list);
    }
    if ("tuple" in shape) {
        if (!Array.isArray(value) || value.length !== shape.tuple.length) {
            return ` is ${show(value)}, must be a list of ${shape.tuple.length}`;
        }
        return each(value, (index) => shape.tuple[index] as Shape);
    }
    if (typeof value !== "object" || value === null) return ` is ${show(value)}, must be an object`;
    if (value instanceof Promise) return " is a promise: a plugin has nothing to wait for, `async` has no place in it";
    if ("record" in shape) {
        for (const field in shape.record) {
            const wrong = flaw((value as Record<string, unknown>)[field], shape.record[field] as Shape);
            if (wrong !== null) return `.${field}${wrong}`;
        }
        return null;
    }
    const { tag, val } = value as { tag?: unknown; val?: unknown };
    const inner = typeof tag === "string" ? shape.variant[tag] : undefined;
    if (inner === undefined) return `.tag is ${show(tag)}, must be one of ${Object.keys(shape.variant).join(", ")}`;
    if (inner === null) return null;
    const wrong = flaw(val, inner);
    return wrong === null ? null : `.${tag as string}${wrong}`;
}

function each(values: unknown[], shape: (index: number) => Shape): string | null {
    for (let index = 0; index < values.length; index++) {
        const wrong = flaw(values[index], shape(index));
        if (wrong !== null) return `[${index}]${wrong}`;
    }
    return null;
}

function simple(value: unknown, shape: string): string | null {
    switch (shape) {
        case "string":
            if (typeof value !== "string") return ` is ${show(value)}, must be a text`;
            return wellFormed(value) ? null : " holds half of a surrogate pair, which is no text";
        case "bool":
            return typeof value === "boolean" ? null : ` is ${show(value)}, must be true or false`;
        case "bytes":
            return value instanceof Uint8Array ? null : ` is ${show(value)}, must be bytes (Uint8Array)`;
        default: {
            const [least, most] = BOUNDS[shape] as [number, number];
            if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return null;
            return ` is ${show(value)}, must be a whole number from ${least} to ${most}`;
        }
    }
}

const LONE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

function wellFormed(text: string): boolean {
    const native = (text as { isWellFormed?: () => boolean }).isWellFormed;
    return native ? native.call(text) : !LONE.test(text);
}

function show(value: unknown): string {
    if (value === null || value === undefined || typeof value === "number" || typeof value === "boolean") {
        return String(value);
    }
    if (typeof value === "string") return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
    if (Array.isArray(value)) return `a list of ${value.length}`;
    return value instanceof Uint8Array ? "bytes" : `a ${typeof value}`;
}
