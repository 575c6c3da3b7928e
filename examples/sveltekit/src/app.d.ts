import type { User } from '#lib/server/session.ts';

declare global {
  namespace App {
    interface Locals {
      /** Whoever is signed in. */
      user: User | undefined;
    }
  }
}
