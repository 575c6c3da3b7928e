// Plain `npx jest --selectProjects examples` works too: the apps are installed and built first.
import { prepareExamples } from './examples.mjs';

export default prepareExamples;
