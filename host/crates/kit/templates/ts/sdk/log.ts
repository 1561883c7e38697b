/** Words for the operator. The host cuts a line at 4 KiB, and drops lines beyond the instance's rate. */
import host from "jackfield:log/log@0.1.0";

const MOST = 4000;

function write(level: number, message: unknown): void {
    host.log(level, String(message).slice(0, MOST));
}

export const log = {
    error: (message: unknown): void => write(0, message),
    warning: (message: unknown): void => write(1, message),
    info: (message: unknown): void => write(2, message),
    debug: (message: unknown): void => write(3, message),
};
