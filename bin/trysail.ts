/** Entry of all commands: the only place that hands the process's environment and arguments to the rest. */
import { main } from '../src/cli/main.ts';

process.exitCode = await main(process.argv.slice(2), process.env);
