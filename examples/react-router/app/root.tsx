import { Links, Meta, Outlet, Scripts, ScrollRestoration, isRouteErrorResponse } from 'react-router';
import type { Route } from './+types/root';
import './huddle.css';

export const meta: Route.MetaFunction = () => [{ title: 'Huddle' }];

export function Layout({ children }: { children: React.ReactNode }) {
  return (
    <html lang="en">
      <head>
        <meta charSet="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover" />
        <meta name="color-scheme" content="light dark" />
        <link rel="icon" href="data:," />
        <Meta />
        <Links />
      </head>
      <body>
        {children}
        <ScrollRestoration />
        <Scripts />
      </body>
    </html>
  );
}

export default function App() {
  return <Outlet />;
}

export function ErrorBoundary({ error }: Route.ErrorBoundaryProps) {
  return (
    <main className="card">
      <h1>{textOf(error)}</h1>
      <a className="button" href="/">
        Back to the lobby
      </a>
    </main>
  );
}

/** The text that a route has thrown, which is for the user. Of the framework's own errors it shows the status text only. */
function textOf(error: unknown): string {
  if (!isRouteErrorResponse(error)) return 'Something went wrong';
  return error.status === 404 || typeof error.data !== 'string' ? error.statusText : error.data;
}
