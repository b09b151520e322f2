import { Earshot } from './earshot';

Object.assign(globalThis, { Earshot });
