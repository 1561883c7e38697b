/** The one import a plugin has. Use `log.ts`, which cuts long lines. */
declare module "jackfield:log/log@0.1.0" {
    const host: { log(level: number, message: string): void };
    export default host;
}
