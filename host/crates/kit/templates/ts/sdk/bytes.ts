/** Text and bytes: the engine has no TextEncoder. */

/** UTF-8. Half of a surrogate pair becomes U+FFFD. */
export function utf8(text: string): Uint8Array {
    const bytes = new Uint8Array(text.length * 3);
    let length = 0;
    for (let index = 0; index < text.length; index++) {
        let code = text.charCodeAt(index);
        if (code < 0x80) {
            bytes[length++] = code;
            continue;
        }
        if (code >= 0xd800 && code <= 0xdfff) {
            const low = code <= 0xdbff ? text.charCodeAt(index + 1) : NaN;
            if (low >= 0xdc00 && low <= 0xdfff) {
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                index++;
            } else {
                code = 0xfffd;
            }
        }
        if (code < 0x800) {
            bytes[length++] = 0xc0 | (code >> 6);
        } else {
            if (code < 0x10000) {
                bytes[length++] = 0xe0 | (code >> 12);
            } else {
                bytes[length++] = 0xf0 | (code >> 18);
                bytes[length++] = 0x80 | ((code >> 12) & 0x3f);
            }
            bytes[length++] = 0x80 | ((code >> 6) & 0x3f);
        }
        bytes[length++] = 0x80 | (code & 0x3f);
    }
    return bytes.slice(0, length);
}

/** The text of UTF-8 bytes. What is no UTF-8 becomes U+FFFD. */
export function text(bytes: Uint8Array): string {
    const parts: string[] = [];
    let units: number[] = [];
    for (let index = 0; index < bytes.length; ) {
        const first = bytes[index++] as number;
        let code = first;
        if (first >= 0x80) {
            const more = first >= 0xf0 && first < 0xf5 ? 3 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xc2 && first < 0xe0 ? 1 : 0;
            code = more === 0 ? 0xfffd : first & (0x3f >> more);
            let taken = 0;
            while (taken < more && ((bytes[index] ?? 0) & 0xc0) === 0x80) {
                code = (code << 6) | ((bytes[index++] as number) & 0x3f);
                taken++;
            }
            const least = [0, 0x80, 0x800, 0x10000][more] as number;
            if (taken < more || code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) code = 0xfffd;
        }
        if (code >= 0x10000) units.push(0xd800 + ((code - 0x10000) >> 10), 0xdc00 + ((code - 0x10000) & 0x3ff));
        else units.push(code);
        if (units.length > 4000) {
            parts.push(String.fromCharCode(...units));
            units = [];
        }
    }
    parts.push(String.fromCharCode(...units));
    return parts.join("");
}
