/** Stands in for `jackfield:log/log` in unit tests: what the plugin logged. */
export const logged: { level: number; message: string }[] = [];

export default {
    log(level: number, message: string): void {
        logged.push({ level, message });
    },
};
