import type { User } from '#lib/server/session.ts';

declare global {
  namespace App {
    interface Locals {
      /** The signed-in user. */
      user: User | undefined;
    }
  }
}
