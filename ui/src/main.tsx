/** The start of the interface. */
import './style/base.css';
import './style/layout.css';
import './style/parts.css';
import { render } from 'preact';
import { App } from './app';
import { followLinks } from './router';

document.addEventListener('click', followLinks);
const root = document.getElementById('app');
if (root) render(<App />, root);
