/* SPDX-License-Identifier: BSD-2-Clause
 *
 * What a guest must be told beyond the fixed ACPI tables: how to switch off,
 * that there is a VMBus, and where the serial port is. Addresses are those of
 * board.c. The VMBus device must have a _CRS (the driver walks it) and needs
 * no resource in it: its interrupt vector is fixed on x86.
 */
DefinitionBlock ("", "DSDT", 2, "VHDTK ", "HVPC    ", 1)
{
	Name (\_S5, Package (4) { 5, 5, 0, 0 })

	Scope (\_SB)
	{
		Device (VMBS)
		{
			/* A method: iasl takes no name of 5 letters otherwise. */
			Method (_HID, 0, NotSerialized) { Return ("VMBus") }
			Name (_UID, Zero)
			Name (_STA, 0x0F)
			Name (_CRS, ResourceTemplate () { })
		}

		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, One)
			Name (_STA, 0x0F)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x03F8, 0x03F8, 1, 8)
				IRQNoFlags () { 4 }
			})
		}
	}
}
